"""synchronous_standby_names: which applications a primary may wait for. Pure."""

import re

# Quoted names double their quotes; PostgreSQL: src/backend/replication/syncrep_scanner.l
_TOKEN = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"|(?P<parenthesis>[()])|(?P<bare>[^\s,()"]+)')


def could_match(setting: str, application_name: str) -> bool:
    """Tell whether a primary with this setting could wait for a standby of that name.

    Knows `*`, plain lists, `n (…)`, `FIRST n (…)`, `ANY n (…)` and quoted names; case counts as little as it does
    for PostgreSQL (syncrep.c, SyncRepGetStandbyPriority).
    """
    names: list[str] = []
    for token in _TOKEN.finditer(setting):
        if token["parenthesis"] == "(":
            names.clear()  # what stood before is FIRST, ANY and a number
        elif token["parenthesis"] is None:
            quoted = token["quoted"]
            names.append(token["bare"] if quoted is None else quoted.replace('""', '"'))
    return any(name == "*" or name.lower() == application_name.lower() for name in names)
