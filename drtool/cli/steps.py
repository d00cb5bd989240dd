"""Steps that run side by side, each with a Progress of its own, and the promise that runs while they do."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Literal, Protocol, Self

from drtool.cli.units import rate, took
from drtool.operations.session import Progress
from drtool.policy.durations import brief_duration
from drtool.policy.sizes import size

How = Literal["done", "failed", "interrupted"]


@dataclass(slots=True)
class Work:
    """A phase or a step: its bytes, of how many, and since when. doing is what of it is being done."""

    name: str
    total: int | None = None
    done: int = 0
    doing: str = ""
    began: float = field(default_factory=monotonic)

    @property
    def title(self) -> str:
        """What it is called, with what is being done."""
        return f"{self.name}: {self.doing}" if self.doing else self.name

    def measure(self) -> str:
        """Return how many bytes are done, of how many, and the rate."""
        of = f" of {size(self.total)} ({self.done * 100 // self.total} %)" if self.total else ""
        return f"{self.title}: {size(self.done)}{of}, {rate(self.done, monotonic() - self.began)}"

    def state(self) -> str:
        """Return how far it is, and what time is left; where no bytes move, for how long it goes on."""
        spent = monotonic() - self.began
        if not self.done:
            return f"{self.title}: {took(spent)} so far"
        left = (self.total or 0) - self.done
        return f"{self.measure()}, {took(left * spent / self.done)} left" if left > 0 else self.measure()

    def end(self, how: How) -> str:
        """Return how it ended, after how long."""
        spent = monotonic() - self.began
        moved = f"{size(self.done)}, {rate(self.done, spent)}, " if self.done else ""
        return f"{self.name}: {moved}{how} {'in' if how == 'done' else 'after'} {took(spent)}"


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long all of the work may take, and when that is over, by the monotonic clock."""

    whole: timedelta
    ends: float

    def told(self) -> str:
        """Return what is left: 41 min of 1 h left."""
        left = timedelta(seconds=self.ends - monotonic())
        if left < timedelta(0):
            return f"the objective of {brief_duration(self.whole)} was missed {brief_duration(-left)} ago"
        return f"{brief_duration(left)} of {brief_duration(self.whole)} left"


class Board(Protocol):
    """Who shows all steps. Every call may come from any thread."""

    def begin(self, work: Work) -> None:
        """Show a step from now on."""
        ...

    def move(self, work: Work, size: int) -> None:
        """Count size more bytes, for the step and for the phase that it is in."""
        ...

    def rename(self, work: Work) -> None:
        """Show what the step does now."""
        ...

    def finish(self, work: Work, how: How) -> None:
        """Say how the step ended, and show it no more."""
        ...

    def note(self, text: str) -> None:
        """Say something that a person should see."""
        ...

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[Progress]:
        """Begin a step beside the others."""
        ...

    def promise(self, whole: timedelta, spent: timedelta) -> None:
        """Show from now on what is left of whole."""
        ...


class StepProgress:
    """The Progress of one step: a line of its own on the board, as long as its context is entered."""

    def __init__(self, board: Board, name: str, total: int | None) -> None:
        self._board = board
        self._work = Work(name, total)

    def __enter__(self) -> Self:
        """Begin the step; its time runs from here."""
        self._work.began = monotonic()
        self._board.begin(self._work)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End the step, as what leaves the context tells."""
        failed: How = "failed" if kind and issubclass(kind, Exception) else "interrupted"
        self._board.finish(self._work, failed if kind else "done")

    def phase(self, name: str, total: int | None = None) -> None:
        """Say what of the step is done now; bytes are counted anew where their total is told."""
        self._work.doing = name
        if total is not None:
            self._work.total, self._work.done = total, 0
        self._board.rename(self._work)

    def advance(self, size: int) -> None:
        """Count size more bytes of the step."""
        self._board.move(self._work, size)

    def note(self, text: str) -> None:
        """Say something about the step."""
        self._board.note(f"{self._work.name}: {text}")

    def interrupted(self) -> None:
        """Say nothing: what leaves the context tells how the step ended."""

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[Progress]:
        """Begin a step beside this one."""
        return self._board.step(name, total)

    def promise(self, whole: timedelta, spent: timedelta) -> None:
        """Tell the board."""
        self._board.promise(whole, spent)


def deadline(whole: timedelta, spent: timedelta) -> Deadline:
    """Return the deadline of what may take whole, and of which spent is gone."""
    return Deadline(whole, monotonic() + (whole - spent).total_seconds())
