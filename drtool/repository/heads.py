"""Heads: the maintainer's word of what is live, and a clock that no writer can set.

heads/<time>-<sha256>     {"live", "wal", "marks", "config", "previous"}   maintainer
"""

from dataclasses import dataclass
from datetime import datetime

from drtool.errors import UsageError
from drtool.repository.format.names import name_time
from drtool.repository.format.record import Json
from drtool.repository.records import Record, Records


@dataclass(frozen=True, slots=True)
class Head:
    """The maintainer's word: which snapshots are live, and when the store received that word."""

    name: str
    live: frozenset[str]
    received: datetime


def read_heads(records: Records) -> list[Head]:
    """Return the heads that count, oldest first."""
    found = [record for record in records.all("heads/") if isinstance(record, Record)]
    return [Head(record.name, frozenset(record.value.get("live", ())), record.received) for record in found]


def pick_head(records: Records, as_of: str | None) -> Head | None:
    """Return the newest head, or the one whose name or hash begins with as_of. Raises UsageError for none such."""
    heads = read_heads(records)
    if as_of is None:
        return heads[-1] if heads else None
    for head in heads:
        if head.name.startswith(as_of) or head.name.rpartition("-")[2].startswith(as_of):
            return head
    raise UsageError(
        f"there is no head {as_of}", hint="Name one by its hash: the objects below heads/ in the store."
    )


def put_head(records: Records, now: datetime, value: Json) -> str:
    """Store a head; return its name."""
    return records.put(f"heads/{name_time(now)}-", value)
