"""The names of objects: `<family>/…/<what>-<sha256>`, and the times and weeks that stand in them.

A name's *prefix* is all of it before the hash; it is what seals and signatures bind.
"""

import re
from datetime import UTC, datetime
from typing import Final

from drtool.errors import Corrupt

HASH_DIGITS: Final = 64
_TIME = "%Y%m%dT%H%M%S.%fZ"
_JSON_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_LABEL = re.compile(r"[a-z0-9-]{1,25}")
_HASHED = re.compile(r"(?P<prefix>.*[/-])(?P<hash>[0-9a-f]{64})")


def check_label(label: str) -> str:
    """Return label, a policy's or volume's name. Raises ValueError unless it is 1 to 25 of `[a-z0-9-]`."""
    if not _LABEL.fullmatch(label):
        raise ValueError(f"{label!r} is not a name of 1 to 25 characters of a-z, 0-9 and -")
    return label


def name_time(moment: datetime) -> str:
    """Return moment as it stands in names: `20261125T164400.123456Z`. Sorts as text."""
    return moment.astimezone(UTC).strftime(_TIME)


def parse_name_time(text: str) -> datetime:
    """Return the moment of a name's time. Raises Corrupt unless it is as name_time writes it."""
    return _parse_time(text, _TIME, "a name")


def json_time(moment: datetime) -> str:
    """Return moment as it stands in records: ISO 8601, UTC, microseconds."""
    return moment.astimezone(UTC).strftime(_JSON_TIME)


def parse_json_time(text: str) -> datetime:
    """Return the moment of a record's time. Raises Corrupt unless it is as json_time writes it."""
    return _parse_time(text, _JSON_TIME, "a record")


def _parse_time(text: str, form: str, where: str) -> datetime:
    """Return text as a time. strptime also takes `1` for `01`: two texts of one time are one too many."""
    try:
        moment = datetime.strptime(text, form).replace(tzinfo=UTC)
    except (ValueError, TypeError) as fault:
        raise Corrupt(f"{text!r} is no time of {where}") from fault
    if moment.strftime(form) != text:
        raise Corrupt(f"{text!r} is no time of {where}")
    return moment


def week(moment: datetime) -> str:
    """Return moment's ISO week as it stands in names: `2026W48`."""
    year, number, _ = moment.astimezone(UTC).isocalendar()
    return f"{year:04d}W{number:02d}"


def split_hash(name: str) -> tuple[str, bytes]:
    """Return a name's prefix and the SHA-256 that it claims. Raises Corrupt when it has none."""
    match = _HASHED.fullmatch(name)
    if match is None:
        raise Corrupt(f"{name} does not end in a SHA-256")
    return match["prefix"], bytes.fromhex(match["hash"])


def family(name: str) -> str:
    """Return what kind of object a name says it is: the part before the first slash."""
    return name.partition("/")[0]


def pack_prefix(volume: str, moment: datetime) -> str:
    """Return `packs/<volume>/<week>/`."""
    return f"packs/{volume}/{week(moment)}/"


def list_prefix(volume: str, moment: datetime) -> str:
    """Return `lists/<volume>/<week>/`."""
    return f"lists/{volume}/{week(moment)}/"


def timed_prefix(kind: str, volume: str, moment: datetime) -> str:
    """Return `<kind>/<volume>/<time>-`: snapshots, parts, voids, holds and the like."""
    return f"{kind}/{volume}/{name_time(moment)}-"


def run_prefix(kind: str, moment: datetime) -> str:
    """Return `runs/<day>/<time>-<kind>-`."""
    return f"runs/{moment.astimezone(UTC):%Y%m%d}/{name_time(moment)}-{kind}-"


def lineage_prefix(kind: str, volume: str, lineage: str) -> str:
    """Return `wal/<volume>/<lineage>/` or `tail/…`; a lineage is `<system>-<major>-<epoch>`."""
    return f"{kind}/{volume}/{lineage}/"
