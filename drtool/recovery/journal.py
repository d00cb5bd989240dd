"""What a run did, step by step: written before and after each, so that whoever comes later can go on or undo it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from drtool.recovery.manifests.objects import Json

State = Literal["begun", "noted", "done", "failed"]


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
