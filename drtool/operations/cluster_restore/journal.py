"""The journal of a run: signed records in the repository, each sealed to the recipients; and a copy on this machine.

The repository's counts: whoever has the kit can go on from any machine. The copy is for a person who asks what was
done while the store is away.
"""

import json
import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from drtool.errors import Corrupt, Refused, UsageError
from drtool.operations.session import Session
from drtool.policy.load import parse_policy, policy_text
from drtool.policy.moments import to_second
from drtool.policy.schema import Policy
from drtool.recovery.journal import PLAN, Entry, JournalSink, State, fold
from drtool.repository.confidential import seal_confidential, unseal_confidential
from drtool.repository.format.names import json_time, parse_json_time, run_prefix, split_hash
from drtool.repository.records import Record, Unreadable
from drtool.repository.runs import read_journals
from drtool.sources.base import Json

_DIGITS: Final = 6
_MADE: Final = "%Y%m%dt%H%M%S"  # how the name of a run begins
_CLOCKS: Final = timedelta(days=2)  # by how much that of a machine may go before the store's


def make_run_name(now: datetime, chance: bytes) -> str:
    """Return a name for a run: 20261129t131500z-ab12cd. It fits into names and labels, and sorts by time."""
    return f"{now.astimezone(UTC).strftime(_MADE)}z-{chance.hex()[:_DIGITS]}"


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run that the repository has a journal of."""

    run: str
    begun: datetime
    by: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class _Unkept:
    """An entry, and the very bytes that keep it. It may be in the store although putting it there failed."""

    name: str
    sealed: bytes = field(repr=False)
    value: Json = field(repr=False)
    entry: Entry


class Journal:
    """The journal of one run, as a JournalSink. Safe to use from many threads.

    An entry that the store did not take is put there again before the next one, the very same bytes: so each number is
    there once, whether or not the store had taken it.
    """

    def __init__(self, session: Session, run: str, entries: Sequence[Entry] = ()) -> None:
        self.run = run
        self._session = session
        self._entries = list(entries)
        self._unkept: _Unkept | None = None
        self._lock = threading.Lock()
        self._mirror = _mirror(session, run)

    def write(self, step: str, state: State, detail: Json) -> None:
        """Keep one more entry; it is durable in the repository once this returns. Raises what the store raises."""
        records = self._session.repository.records
        with self._lock:
            self._keep()
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
            name, bytes_ = records.seal(run_prefix("journal", now), value)
            self._unkept = _Unkept(name, bytes_, value, Entry(number, now, step, state, detail))
            self._keep()

    def _keep(self) -> None:
        unkept = self._unkept
        if unkept is not None:
            digest = split_hash(unkept.name)[1]
            self._session.repository.store.put(unkept.name, unkept.sealed, digest)
            self._unkept = None
            self._entries.append(unkept.entry)
            self._copy(unkept.value)

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


def begin_journal(
    session: Session,
    run: str,
    plan: bytes,
    policy: Policy | None = None,
    rendered: Sequence[Json] | None = None,
) -> Journal:
    """Return the journal of a new run, which begins with its plan, and with the policy that it was made of.

    rendered is the team's own deployment: who goes on deploys what was confirmed, whatever its folder holds by then.
    """
    journal = Journal(session, run)
    text = policy_text(policy) if policy else ""
    journal.write(PLAN, "noted", {"plan": plan.decode(), "policy": text, "rendered": rendered})
    return journal


def rendered_of(journal: JournalSink) -> Sequence[Json] | None:
    """Return the team's own deployment as a run began with it; None where it had none."""
    found: Sequence[Json] | None = journal.entries()[0].detail.get("rendered")
    return found


def policy_of(journal: JournalSink) -> Policy:
    """Return the policy that a run began with: what was confirmed then is what is done. Raises PolicyInvalid."""
    return parse_policy(str(journal.entries()[0].detail.get("policy", "")), "the policy of the run")


def open_journal(session: Session, run: str) -> tuple[Journal, bytes]:
    """Return the journal of a run that was begun before, and its plan.

    Raises UsageError for a run that nobody began, Corrupt for a journal with gaps, or that two runs wrote at once.
    """
    entries, plan = read_entries(session, run)
    return Journal(session, run, entries), plan


def refuse_if_moved(session: Session, run: str, journal: JournalSink) -> None:
    """Return when nobody has written since journal was read: asked once nobody else can. Raises Refused, Corrupt."""
    found, _ = read_entries(session, run)
    if len(found) != len(journal.entries()):
        raise Refused(
            f"run {run} was gone on with, or undone, by another drtool meanwhile",
            hint="See how far it came, and say again what is to be done.",
        )


def read_entries(session: Session, run: str) -> tuple[list[Entry], bytes]:
    """Return the entries of a run, by number, and its plan. Raises as `open_journal`."""
    found = _by_run(session, begun_about(run))
    if not any(_number(each) == 1 for each in found.get(run, ())):  # a clock that was wrong by days named it
        found = _by_run(session)
    if run not in found:
        known = ", ".join(sorted(found)) or "none"
        raise UsageError(f"the repository has no journal of a run {run}", hint=f"It has: {known}.")
    records = sorted(found[run], key=_number)
    for record, after in pairwise(records):
        if _number(record) == _number(after):
            both = " and ".join(f"by {each.signer} at {to_second(each.received)}" for each in (record, after))
            raise Corrupt(
                f"entry {_number(record)} of run {run} was written twice, {both}: two drtools worked on it at once",
                hint="See that none runs any more; then look at the target, and restore anew.",
            )
    entries = [_entry(session, record) for record in records]
    fold(entries)
    if entries[0].step != PLAN:
        raise Corrupt(f"the journal of run {run} does not begin with a plan", hint="Restore anew.")
    return entries, str(entries[0].detail["plan"]).encode()


def known_runs(session: Session, since: datetime | None = None) -> list[KnownRun]:
    """Return the runs of which something was journaled from the day of since on, oldest first."""
    found = []
    for run, records in _by_run(session, since).items():
        records.sort(key=_number)
        said = [(record.value["step"], record.value["state"]) for record in records]
        is_over = any(step in ("end", "abort") and state == "done" for step, state in said)
        begun = parse_json_time(records[0].value["time"])
        found.append(KnownRun(run, begun, records[0].signer, is_over))
    return sorted(found, key=lambda each: each.begun)


def begun_about(run: str) -> datetime | None:
    """Return the day since which a run of this name may have a journal; None for a name that nobody of us gave."""
    try:
        return datetime.strptime(run.partition("z-")[0], _MADE).replace(tzinfo=UTC) - _CLOCKS
    except (ValueError, OverflowError):
        return None


def _by_run(session: Session, since: datetime | None = None) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in read_journals(session.repository.records, since):
        if isinstance(record, Unreadable):
            session.world.progress.note(f"an entry of a journal does not count: {record.fault}")
        elif record.role == "operator":
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
