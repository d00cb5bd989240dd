"""What a run did, step by step: written before and after each, so that whoever comes later can go on or undo it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from drtool.errors import Corrupt
from drtool.recovery.manifests.objects import Json
from drtool.recovery.steps import Phase, Step

State = Literal["begun", "noted", "done", "failed"]

# What a journal holds beside the steps of its plan: no step is called so.
PLAN: Final = "plan"  # noted, the first entry: the plan itself
END: Final = "end"  # done: the plan was executed to its end
ABORT: Final = "abort"  # begun, and done once all that the run did is undone
_SWITCHING: Final = frozenset({"start", "switch", "restart", "open", "resume", "enrol"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal. number counts from 1; step is a step's id, of the plan that the journal begins with.

    detail is what the step found out: what it noted before it changed something, what it ended with, why it failed.
    """

    number: int
    time: datetime
    step: str
    state: State
    detail: Json = field(default_factory=dict, repr=False)


class JournalSink(Protocol):
    """Where a journal is kept. What is written is durable once the call returns; it may come from any thread."""

    def write(self, step: str, state: State, detail: Json) -> None:
        """Keep one more entry. Raises what the store raises: a step that cannot be journaled is not begun."""
        ...

    def entries(self) -> Sequence[Entry]:
        """Return all entries so far, by number."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What a journal tells, of steps by their ids.

    done is what each that is done ended with; unfinished are those that were begun and are not done, by when they were
    begun, and failed why some of these are not. notes are in order, oldest first: who undoes takes them from the end.
    spent is how long a step took, from where it was begun for the last time.
    """

    done: dict[str, Json] = field(repr=False)
    unfinished: tuple[str, ...]
    failed: dict[str, Json] = field(repr=False)
    notes: tuple[Entry, ...]
    spent: dict[str, timedelta]
    is_ended: bool
    is_aborting: bool
    is_aborted: bool

    def notes_of(self, step: str) -> tuple[Json, ...]:
        """Return what step noted, oldest first."""
        return tuple(entry.detail for entry in self.notes if entry.step == step)

    def is_past_switch(self, steps: Sequence[Step]) -> bool:
        """Return whether something may have happened that cannot be undone.

        That is what ran, who was let in from outside, and a new writer. A switch of volumes can be until it has noted
        which: what it stopped before is only to be started again. Where it has noted none since, that was done.
        """
        return any(
            any(self.notes_of(step.id)[-1:]) if step.kind == "switch" else self.was_begun(step.id)
            for step in steps
            if step.kind in _SWITCHING
        )

    def was_begun(self, step: str) -> bool:
        """Return whether a step was ever begun."""
        return step in self.done or step in self.unfinished


def fold(entries: Sequence[Entry]) -> Known:
    """Return what entries tell. Raises Corrupt where one is missing, which nobody may go on or undo without.

    Several of one number are what two runners wrote at once; whoever reads a journal decides whether that is borne.
    """
    _check_numbers(entries)
    begun: dict[str, datetime] = {}
    done: dict[str, Json] = {}
    failed: dict[str, Json] = {}
    spent: dict[str, timedelta] = {}
    steps = [entry for entry in entries if entry.step not in (PLAN, END, ABORT)]
    for entry in steps:
        if entry.state == "begun":
            begun[entry.step] = entry.time
            failed.pop(entry.step, None)
        elif entry.state == "done":
            done[entry.step] = entry.detail
            spent[entry.step] = entry.time - begun.get(entry.step, entry.time)
        elif entry.state == "failed":
            failed[entry.step] = entry.detail
    said = {(entry.step, entry.state) for entry in entries}
    return Known(
        done=done,
        unfinished=tuple(step for step in begun if step not in done),
        failed={step: detail for step, detail in failed.items() if step not in done},
        notes=tuple(entry for entry in steps if entry.state == "noted"),
        spent=spent,
        is_ended=(END, "done") in said,
        is_aborting=(ABORT, "begun") in said,
        is_aborted=(ABORT, "done") in said,
    )


def phases_spent(entries: Sequence[Entry], phases: Sequence[Phase]) -> dict[str, timedelta]:
    """Return how long each phase took, from its first step's first beginning to its last step's end.

    What lay between a run that was stopped and the one that went on is in it: nobody had their application then.
    A phase that is not done whole is left out.
    """
    found: dict[str, timedelta] = {}
    for phase in phases:
        ids = {step.id for step in phase.steps}
        begun = [entry.time for entry in entries if entry.step in ids and entry.state == "begun"]
        done = {entry.step: entry.time for entry in entries if entry.step in ids and entry.state == "done"}
        if begun and done.keys() == ids:
            found[phase.name] = max(done.values()) - min(begun)
    return found


def _check_numbers(entries: Sequence[Entry]) -> None:
    before = 0
    for entry in entries:
        if entry.number not in (before, before + 1):
            raise Corrupt(
                f"entry {before + 1} of the journal is missing; the next there is {entry.number}",
                hint="Fetch it from a copy of the repository: `drtool verify --level L0` tells what else is missing.",
            )
        before = entry.number
