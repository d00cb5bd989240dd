"""The journal of a run: signed records in the repository, each sealed to the recipients; and a copy on this machine.

The repository's counts: whoever has the kit can go on from any machine. The copy is for a person who asks what was
done while the store is away.
"""

import json
import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from drtool.errors import Corrupt, UsageError
from drtool.operations.session import Session
from drtool.recovery.journal import PLAN, Entry, State, fold
from drtool.repository.confidential import seal_confidential, unseal_confidential
from drtool.repository.format.names import json_time, name_time, parse_json_time
from drtool.repository.records import Record
from drtool.repository.runs import put_run, read_journals
from drtool.sources.base import Json

_DIGITS: Final = 6


def make_run_name(now: datetime, chance: bytes) -> str:
    """Return a name for a run: it fits into a label, and sorts by time."""
    return f"{name_time(now).lower()}-{chance.hex()[:_DIGITS]}"


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run that the repository has a journal of. steps counts those that are done."""

    run: str
    begun: datetime
    by: str
    steps: int
    is_over: bool


class Journal:
    """The journal of one run, as a JournalSink. Safe to use from many threads."""

    def __init__(self, session: Session, run: str, entries: Sequence[Entry] = ()) -> None:
        self.run = run
        self._session = session
        self._entries = list(entries)
        self._lock = threading.Lock()
        self._mirror = _mirror(session, run)

    def write(self, step: str, state: State, detail: Json) -> None:
        """Keep one more entry; it is durable in the repository once this returns. Raises what the store raises."""
        records = self._session.repository.records
        with self._lock:
            number, now = len(self._entries) + 1, records.store.now()
            sealed = seal_confidential(records.config, _place(self.run, number), json.dumps(detail).encode())
            value = {
                "run": self.run,
                "number": number,
                "step": step,
                "state": state,
                "time": json_time(now),
                "detail": sealed,
            }
            put_run(records, "journal", now, value)
            self._entries.append(Entry(number, now, step, state, detail))
            self._copy(value)

    def entries(self) -> Sequence[Entry]:
        """Return all entries so far, by number."""
        with self._lock:
            return tuple(self._entries)

    def _copy(self, value: Json) -> None:
        """Keep a copy of an entry here, as sealed as there."""
        if self._mirror is None:
            return
        try:
            self._mirror.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._mirror, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(value) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as fault:
            self._session.world.progress.note(f"the journal is not copied to {self._mirror}: {fault}")
            self._mirror = None


def _place(run: str, number: int) -> str:
    return f"journal/{run}/{number}"


def _mirror(session: Session, run: str) -> Path | None:
    environment: Mapping[str, str] = session.world.environment
    home = environment.get("HOME")
    state = environment.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")
    return Path(state) / "drtool" / "runs" / f"{run}.jsonl" if state else None


def begin_journal(session: Session, run: str, plan: bytes) -> Journal:
    """Return the journal of a new run, which begins with its plan."""
    journal = Journal(session, run)
    journal.write(PLAN, "noted", {"plan": plan.decode()})
    return journal


def open_journal(session: Session, run: str) -> tuple[Journal, bytes]:
    """Return the journal of a run that was begun before, and its plan.

    Raises UsageError for a run that nobody began, Corrupt for a journal with gaps, or that two runs wrote at once.
    """
    found = _by_run(session)
    if run not in found:
        known = ", ".join(sorted(found)) or "none"
        raise UsageError(f"the repository has no journal of a run {run}", hint=f"It has: {known}.")
    entries = [_entry(session, record) for record in sorted(found[run], key=_number)]
    doubled = [entry.number for entry, after in pairwise(entries) if entry.number == after.number]
    if doubled:
        raise Corrupt(
            f"entry {doubled[0]} of run {run} was written twice: two drtools worked on it at once",
            hint="See that none runs any more; then look at the target, and restore anew.",
        )
    fold(entries)
    return Journal(session, run, entries), str(entries[0].detail["plan"]).encode()


def known_runs(session: Session) -> list[KnownRun]:
    """Return the runs that were begun, oldest first."""
    found = []
    for run, records in _by_run(session).items():
        records.sort(key=_number)
        said = [(record.value["step"], record.value["state"]) for record in records]
        is_over = any(step in ("end", "abort") and state == "done" for step, state in said)
        steps = sum(state == "done" for _, state in said)
        begun = parse_json_time(records[0].value["time"])
        found.append(KnownRun(run, begun, records[0].signer, steps, is_over))
    return sorted(found, key=lambda each: each.begun)


def _by_run(session: Session) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in read_journals(session.repository.records):
        if record.role == "operator":
            found[str(record.value["run"])].append(record)
    return found


def _number(record: Record) -> int:
    return int(record.value["number"])


def _entry(session: Session, record: Record) -> Entry:
    value, repository = record.value, session.repository
    recovery = repository.run_keys().recovery
    place = _place(str(value["run"]), int(value["number"]))
    plain = unseal_confidential(value["detail"], repository.config.repository_id, place, recovery)
    moment = parse_json_time(value["time"])
    return Entry(int(value["number"]), moment, str(value["step"]), value["state"], json.loads(plain))
