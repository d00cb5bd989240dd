"""The small records: what ran and how it ended, and what people and maintainers say of points.

runs/<day>/<time>-<kind>-<sha256>     {"run", "outcome", …}     writer, verifier, operator
hold/<volume>/<time>-<sha256>         {"reason", "until"}       operator, maintainer
using/<volume>/<time>-<sha256>        {"points", "by"}          operator
plan/<volume>/<time>-<sha256>         {"expire", "delete"}      maintainer
heads/<time>-<sha256>                 {"live", "wal", "marks", "config", "previous"}   maintainer
"""

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, Literal

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.format.names import run_prefix, timed_prefix
from drtool.repository.format.record import Json
from drtool.repository.records import Record, Records, Stored, Unreadable, stored_objects

RunKind = Literal["backup", "wal", "verify", "restore", "prove", "drill", "probe", "journal"]
Note = Literal["hold", "using", "plan"]

_OFTEN: Final = ("backup", "wal")  # many a day, of each volume
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_AT_ONCE: Final = 8  # small GETs at once
_FEW_DAYS: Final = 7  # that are listed one by one


def put_run(records: Records, kind: RunKind, now: datetime, value: Json) -> str:
    """Store what ran and how it ended; return the record's name."""
    return records.put(run_prefix(kind, now), value)


def read_runs(records: Records, since: datetime | None = None) -> Iterator[Record | Unreadable]:
    """Yield the run records by time, from the day of since on."""
    yield from (_read(records, stored) for stored in _stored(records, since))


def list_runs(records: Records, since: datetime) -> list[Stored]:
    """Return the run records as they are listed, by time, from the day of since on: for who needs them twice."""
    return [*_stored(records, since)]


def read_runs_that_tell(
    records: Records,
    since: datetime,
    often_since: datetime,
    is_enough: Callable[[Record], bool],
    listed: Sequence[Stored] | None = None,
) -> list[Record]:
    """Return the run records since then, by time, but of the kinds that come often only the newest: each costs a GET.

    Those are read newest first, back to the one for which is_enough is true, or to the day of often_since. listed is
    what `list_runs` returned for since, where it was asked.
    """
    listed = list_runs(records, since) if listed is None else listed
    found: list[Record] = []
    is_done = False
    for stored in reversed(listed):
        if kind_of(stored.name) == "journal":  # of a restore: it tells of steps, not of how anything ended
            continue
        comes_often = kind_of(stored.name) in _OFTEN
        if comes_often and (is_done or stored.name < _day(often_since)):
            continue
        with suppress(Corrupt, ObjectMissing):
            record = records.read(stored)
            found.append(record)
            is_done = is_done or (comes_often and is_enough(record))
    return found[::-1]


def read_journals(records: Records, since: datetime | None = None) -> Iterator[Record | Unreadable]:
    """Yield the records of journals by time, from the day of since on; one that does not count comes with its fault.

    Anybody who may put a run record can put one that does not count. That one is missing is told by the numbers.
    """
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="drtool-runs") as pool:
        yield from pool.map(lambda stored: _read(records, stored), list_journals(records, since))


def list_journals(
    records: Records, since: datetime | None = None, listed: Sequence[Stored] | None = None
) -> list[Stored]:
    """Return the records of journals as they are listed, by time, from the day of since on; none is read.

    listed is what `list_runs` returned for that day or one before, where it was asked.
    """
    first = _day(since) if since else ""
    runs = _stored(records, since) if listed is None else (each for each in listed if each.name >= first)
    return [stored for stored in runs if kind_of(stored.name) == "journal"]


def read_runs_of(
    records: Records,
    kinds: Collection[RunKind],
    since: datetime,
    until: datetime | None = None,
    most: int | None = None,
) -> Generator[Record]:
    """Yield the run records of kinds from since until then, newest first, and most of them if that is said.

    Others are not read, for each costs a GET; some are at once. Who stops has cost no more than those.
    """

    def read(stored: Stored) -> Record | None:
        with suppress(Corrupt, ObjectMissing):
            return records.read(stored)
        return None

    listed = islice(_newest_first(records, kinds, since, until or _NEVER), most)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="drtool-runs") as pool:
        asked = deque(pool.submit(read, stored) for stored in islice(listed, _AT_ONCE))
        while asked:
            record = asked.popleft().result()
            asked.extend(pool.submit(read, stored) for stored in islice(listed, 1))
            if record is not None:
                yield record


def _newest_first(
    records: Records, kinds: Collection[RunKind], since: datetime, until: datetime
) -> Iterator[Stored]:
    """Yield the run records of kinds from since until then; a day, or month, is listed once it is asked for."""
    first, last = (run_prefix("", each).rstrip("-") for each in (since, until))
    for folder in reversed(_folders(records, since, until)):
        for stored in [*stored_objects(records.store, folder)][::-1]:
            if first <= stored.name <= last and kind_of(stored.name) in kinds:
                yield stored


def newest_run(records: Records, kind: RunKind, since: datetime) -> str | None:
    """Return the name of the newest record of kind since then, from listings alone; None where there is none."""
    names = (
        found.name
        for folder in _folders(records, since)
        for found in records.store.list(folder)
        if found.modified >= since and f"-{kind}-" in found.name
    )
    return max(names, default=None)


def _read(records: Records, stored: Stored) -> Record | Unreadable:
    try:
        return records.read(stored)
    except (Corrupt, ObjectMissing) as fault:
        return Unreadable(stored.name, fault)


def _stored(records: Records, since: datetime | None) -> Iterator[Stored]:
    """Yield the run records by time, from the day of since on."""
    first = _day(since) if since else ""
    for folder in _folders(records, since) if since else ["runs/"]:
        yield from (each for each in stored_objects(records.store, folder) if each.name >= first)


def _folders(records: Records, since: datetime, until: datetime = _NEVER) -> list[str]:
    """Return how the names begin of what ran from since until then, by time: day by day, or a year month by month.

    A request lists a thousand of whatever begins so; for years of others lie beside.
    """
    end = min(until, records.store.now() + timedelta(days=1))  # the clock that dated them may go before
    first, last = (each.astimezone(UTC).date() for each in (since, end))
    days = (last - first).days + 1
    if days <= _FEW_DAYS:
        return [f"runs/{first + timedelta(days=day):%Y%m%d}/" for day in range(days)]
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    numbers = (first.year * 12 + first.month - 1 + month for month in range(months))
    return [f"runs/{number // 12:04}{number % 12 + 1:02}" for number in numbers]


def _day(moment: datetime) -> str:
    return f"runs/{moment.astimezone(UTC):%Y%m%d}/"


def run_kind(record: Record) -> str:
    """Return the kind that a run record's name says."""
    return kind_of(record.name)


def kind_of(name: str) -> str:
    """Return the kind that the name of a run record says; empty for a name that somebody made up."""
    return name.rpartition("/")[2].partition("-")[2].partition("-")[0]


def put_note(records: Records, note: Note, volume: str, now: datetime, value: Json) -> str:
    """Store a hold, a using or a plan of volume; return its name."""
    return records.put(timed_prefix(note, volume, now), value)


def read_notes(records: Records, note: Note, volume: str) -> Iterator[Record | Unreadable]:
    """Yield a volume's holds, usings or plans by time."""
    yield from records.all(f"{note}/{volume}/")
