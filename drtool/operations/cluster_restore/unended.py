"""Which restores into a cluster were begun and have not ended: for `status`, and for who plans or begins another."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from drtool.errors import Corrupt, ObjectMissing, WrongKey
from drtool.operations.session import Session
from drtool.policy.moments import to_second
from drtool.repository.format.names import parse_json_time
from drtool.repository.records import Record, Records, Stored
from drtool.repository.runs import list_journals

# A mover may be at work for long without a word in the journal, but a run that a person watches is gone on with sooner.
AT_WORK: Final = timedelta(hours=1)
STATUS_TELLS: Final = timedelta(
    days=90
)  # since the last word of a run: longer ago, and its target may be no more
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
            f"restore {self.run}, begun by {self.by} at {to_second(self.begun)}, has not ended, and said nothing since "
            f"{to_second(self.touched)}: --resume {self.run} goes on with it, --abort {self.run} undoes it"
        )


def unended_runs(session: Session, since: datetime) -> list[UnendedRun]:
    """Return the runs that have not ended, of which something was journaled from the day of since on, oldest first.

    The newest entry of a run says how far it is, and by its number how many are before it: where the first one is
    that many before, none between them is read.
    """
    records = session.repository.records
    listed = list_journals(records, since)
    found: dict[str, UnendedRun] = {}
    over: set[str] = set()
    at = len(listed) - 1
    while at >= 0:
        entry, here = _read(records, listed[at]), at
        at -= 1
        if entry is None:
            continue
        run, moment = str(entry.value["run"]), parse_json_time(entry.value["time"])
        if run in found:
            found[run] = replace(found[run], begun=moment)
        elif run not in over:
            first = here - int(entry.value["number"]) + 1
            begun = _read(records, listed[first]) if 0 <= first < here else None
            if begun is not None and (begun.value["run"], begun.value["number"]) == (run, 1):
                at, begins = first - 1, parse_json_time(begun.value["time"])
            else:
                begins = moment
            if entry.value["step"] in _ENDS and entry.value["state"] == "done":
                over.add(run)
            else:
                found[run] = UnendedRun(run, entry.signer, begins, moment)
    return sorted(found.values(), key=lambda each: each.begun)


def stopped_runs(session: Session, now: datetime) -> Iterator[UnendedRun]:
    """Yield the runs that nobody seems to be at, and whose target may still wait for one."""
    for each in unended_runs(session, now - STATUS_TELLS):
        if now - each.touched > AT_WORK:
            yield each


def _read(records: Records, stored: Stored) -> Record | None:
    """Return an entry that an operator signed, None for anything else: anybody who may put a run record can put one."""
    with suppress(Corrupt, ObjectMissing, WrongKey):
        record = records.read(stored)
        return record if record.role == "operator" else None
    return None
