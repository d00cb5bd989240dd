"""synchronous_standby_names: which applications a primary may wait for. Pure."""

import re
from collections.abc import Iterable

# Quoted names double their quotes; PostgreSQL: src/backend/replication/syncrep_scanner.l
_TOKEN = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"|(?P<parenthesis>[()])|(?P<bare>[^\s,()"]+)')


def could_match(setting: str, application_name: str) -> bool:
    """Tell whether a primary with this setting could wait for a standby of that name.

    Knows `*`, plain lists, `n (…)`, `FIRST n (…)`, `ANY n (…)` and quoted names; case counts as little as it does
    for PostgreSQL (syncrep.c, SyncRepGetStandbyPriority).
    """
    return any(_could_be(name, application_name) for name in _names(setting))


def without(setting: str, application_name: str, standbys: Iterable[str]) -> str:
    """Return setting so that it cannot match application_name: its names one by one, for * those of standbys.

    How many are waited for stays, but never more than there are names.
    """
    named = [name for name in _names(setting) if not _could_be(name, application_name)]
    if "*" in _names(setting):
        named += sorted(
            name for name in standbys if name not in named and not _could_be(name, application_name)
        )
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in named)
    method = re.match(r"\s*(?:(first|any)\s*)?(\d+)\s*\(", setting, re.IGNORECASE)
    if not named or method is None:
        return quoted
    return f"{(method[1] or 'FIRST').upper()} {min(int(method[2]), len(named))} ({quoted})"


def _could_be(name: str, application_name: str) -> bool:
    return name == "*" or name.lower() == application_name.lower()


def _names(setting: str) -> list[str]:
    names: list[str] = []
    for token in _TOKEN.finditer(setting):
        if token["parenthesis"] == "(":
            names.clear()  # what stood before is FIRST, ANY and a number
        elif token["parenthesis"] is None:
            quoted = token["quoted"]
            names.append(token["bare"] if quoted is None else quoted.replace('""', '"'))
    return names
