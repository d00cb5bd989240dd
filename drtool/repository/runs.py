"""The small records: what ran and how it ended, and what people and maintainers say of points.

runs/<day>/<time>-<kind>-<sha256>     {"run", "outcome", …}     writer, verifier, operator
hold/<volume>/<time>-<sha256>         {"reason", "until"}       operator, maintainer
using/<volume>/<time>-<sha256>        {"points", "by"}          operator
plan/<volume>/<time>-<sha256>         {"expire", "delete"}      maintainer
heads/<time>-<sha256>                 {"live", "wal", "marks", "config", "previous"}   maintainer
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from drtool.repository.format.names import run_prefix, timed_prefix
from drtool.repository.format.record import Json
from drtool.repository.records import Record, Records, Unreadable

RunKind = Literal["backup", "wal", "verify", "restore", "prove", "drill", "probe"]
Note = Literal["hold", "using", "plan"]


def put_run(records: Records, kind: RunKind, now: datetime, value: Json) -> str:
    """Store what ran and how it ended; return the record's name."""
    return records.put(run_prefix(kind, now), value)


def read_runs(records: Records, since: datetime | None = None) -> Iterator[Record | Unreadable]:
    """Yield the run records by time, from the day of since on."""
    first = f"runs/{since:%Y%m%d}/" if since else ""
    for day in _days(records):
        if day >= first:
            yield from records.all(day)


def newest_run(records: Records, kind: RunKind, since: datetime) -> str | None:
    """Return the name of the newest record of kind since then, from listings alone; None where there is none."""
    names = (
        found.name
        for day in _days(records)
        if day >= f"runs/{since:%Y%m%d}/"
        for found in records.store.list(day)
        if found.modified >= since and f"-{kind}-" in found.name
    )
    return max(names, default=None)


def _days(records: Records) -> list[str]:
    days = {found.name[: len("runs/YYYYMMDD/")] for found in records.store.list("runs/")}
    return sorted(days)


def run_kind(record: Record) -> str:
    """Return the kind that a run record's name says."""
    return record.name.split("/")[2].split("-")[1]


def put_note(records: Records, note: Note, volume: str, now: datetime, value: Json) -> str:
    """Store a hold, a using or a plan of volume; return its name."""
    return records.put(timed_prefix(note, volume, now), value)


def read_notes(records: Records, note: Note, volume: str) -> Iterator[Record | Unreadable]:
    """Yield a volume's holds, usings or plans by time."""
    yield from records.all(f"{note}/{volume}/")
