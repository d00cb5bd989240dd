"""Which restores into a cluster were begun and have not ended: for `status`, and for who plans or begins another."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from drtool.errors import Corrupt, ObjectMissing, WrongKey
from drtool.operations.session import Session
from drtool.policy.moments import to_second
from drtool.repository.format.names import parse_json_time
from drtool.repository.records import Record, Records, Stored
from drtool.repository.runs import list_journals

# A mover may be at work for long without a word in the journal, but a run that a person watches is gone on with sooner.
AT_WORK: Final = timedelta(hours=1)
TOLD_FOR: Final = timedelta(
    days=90
)  # since the last word of a run: longer ago, and its target may be no more
_AT_ONCE: Final = 8  # days whose entries are read at once
_ENDS: Final = ("end", "abort")


@dataclass(frozen=True, slots=True)
class UnendedRun:
    """A run that has not ended: by whom, when it was begun, and when it said something last."""

    run: str
    by: str
    begun: datetime
    touched: datetime

    def __str__(self) -> str:
        return (
            f"restore {self.run}, begun by {self.by} at {to_second(self.begun)}, has not ended; its last word is of "
            f"{to_second(self.touched)}: if nobody is at it, --resume {self.run} goes on with it, and "
            f"--abort {self.run} undoes it"
        )


def unended_runs(
    session: Session, since: datetime, listed: Sequence[Stored] | None = None
) -> list[UnendedRun]:
    """Return the runs that have not ended, of which something was journaled from the day of since on, oldest first.

    listed are the run records since then or earlier, where somebody has listed them already.
    """
    records = session.repository.records
    days = [
        [*each]
        for _, each in groupby(list_journals(records, since, listed), lambda stored: _day(stored.name))
    ]
    found: dict[str, UnendedRun] = {}
    over: set[str] = set()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="drtool-unended") as pool:
        for of_day, over_then in pool.map(lambda listed: _of_day(records, listed), days):
            over |= over_then
            for run, now in of_day.items():
                found[run] = replace(now, begun=found.get(run, now).begun)
    return sorted((each for run, each in found.items() if run not in over), key=lambda each: each.begun)


def _of_day(records: Records, listed: Sequence[Stored]) -> tuple[dict[str, UnendedRun], set[str]]:
    """Return the runs of which that day shows no end, and those that it shows to be over.

    The newest entry of a run says how far it is, and by its number how many are before it: where the first one is
    that many before, none between them is read. The clock that dates them steps back at times, so that an end may lie
    before what was written before it: it counts wherever it is.
    """
    found: dict[str, UnendedRun] = {}
    over: set[str] = set()
    at = len(listed) - 1
    while at >= 0:
        entry, here = _read(records, listed[at]), at
        at -= 1
        if entry is None or (run := str(entry.value["run"])) in over:
            continue
        moment, ends = parse_json_time(entry.value["time"]), _ends(entry)
        if ends:
            over.add(run)
            found.pop(run, None)
        elif run in found:
            found[run] = replace(found[run], begun=moment)
            continue
        first = here - int(entry.value["number"]) + 1
        begun = _read(records, listed[first]) if 0 <= first < here else None
        if begun is None or (begun.value["run"], begun.value["number"]) != (run, 1):
            begun = None
        elif ends or not _is_of(run, records, listed[:first]):
            at = first - 1
        if not ends:
            found[run] = UnendedRun(
                run, entry.signer, parse_json_time((begun or entry).value["time"]), moment
            )
    return found, over


def _ends(entry: Record) -> bool:
    return entry.value["step"] in _ENDS and entry.value["state"] == "done"


def _is_of(run: str, records: Records, listed: Sequence[Stored]) -> bool:
    """Return whether the last of them is of that run: then not all of its entries lie where their numbers say."""
    entry = _read(records, listed[-1]) if listed else None
    return entry is not None and entry.value["run"] == run


def _day(name: str) -> str:
    return name.rpartition("/")[0]


def stopped_runs(
    session: Session, now: datetime, listed: Sequence[Stored] | None = None
) -> Iterator[UnendedRun]:
    """Yield the runs that nobody seems to be at, and whose target may still wait for one."""
    for each in unended_runs(session, now - TOLD_FOR, listed):
        if now - each.touched > AT_WORK:
            yield each


def _read(records: Records, stored: Stored) -> Record | None:
    """Return an entry that an operator signed, None for anything else: anybody who may put a run record can put one."""
    with suppress(Corrupt, ObjectMissing, WrongKey):
        record = records.read(stored)
        return record if record.role == "operator" else None
    return None
