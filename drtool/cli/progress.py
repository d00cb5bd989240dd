"""How far the work is, on stderr: bars on a terminal, a line now and then elsewhere, or nothing."""

import sys
from contextlib import AbstractContextManager
from datetime import timedelta
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final, Literal, Protocol

from drtool.cli.output import say_aside
from drtool.cli.steps import Deadline, How, StepProgress, Work, deadline
from drtool.cli.units import printable
from drtool.operations.session import Progress, Silent
from drtool.policy.sizes import size

Mode = Literal["auto", "bar", "plain", "none"]
EVERY_S: Final = 30


class ClosingProgress(Progress, Protocol):
    """A Progress that can be ended, so that what is printed next stands below it."""

    def close(self) -> None:
        """End. Safe to repeat."""
        ...


class NoProgress(Silent):
    """Shows nothing, and has nothing to end."""

    def close(self) -> None:
        """Do nothing."""


class LineProgress:
    """A line for each phase and each step that begins or ends, and every 30 seconds one for each that goes on."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every = every_s
        self._lock = Lock()
        self._phase = Work("")
        self._said = monotonic()
        self._steps: list[Work] = []
        self._ticker: Thread | None = None
        self._closing = Event()
        self._deadline: Deadline | None = None

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase, and say how the one before it ended."""
        with self._lock:
            self._end_phase()
            self._phase, self._said = Work(name, total), monotonic()
            self._say(f"{name}: {size(total)}" if total else name)

    def advance(self, size: int) -> None:
        """Count size more bytes; say so if it is time."""
        with self._lock:
            self._phase.done += size
            if monotonic() - self._said >= self._every:
                self._said = monotonic()
                self._say(self._phase.state())

    def note(self, text: str) -> None:
        """Print a note."""
        with self._lock:
            say_aside(f"note: {printable(text)}")

    def interrupted(self) -> None:
        """Say how far the phase came that was interrupted."""
        with self._lock:
            self._end_phase("interrupted")

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[Progress]:
        """Return a step that has lines of its own."""
        return StepProgress(self, name, total)

    def promise(self, whole: timedelta, spent: timedelta) -> None:
        """Tell what is left of whole beside each phase."""
        self._deadline = deadline(whole, spent)

    def begin(self, work: Work) -> None:
        """Say that a step begins; from the first on, lines come by themselves."""
        with self._lock:
            self._steps.append(work)
            say_aside(f"{work.name}: {size(work.total)}" if work.total else work.name)
            if self._ticker is None:
                self._closing = Event()
                self._ticker = Thread(target=self._tick, args=(self._closing,), daemon=True)
                self._ticker.start()

    def move(self, work: Work, size: int) -> None:
        """Count size more bytes of a step."""
        with self._lock:
            work.done += size
            self._phase.done += size

    def rename(self, work: Work) -> None:
        """Say what a step does now."""
        with self._lock:
            say_aside(work.title)

    def finish(self, work: Work, how: How) -> None:
        """Say how a step ended."""
        with self._lock:
            self._steps.remove(work)
            say_aside(work.end(how))

    def close(self) -> None:
        """Say how the last phase ended."""
        self._closing.set()
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.join()
        with self._lock:
            self._end_phase()

    def _tick(self, closing: Event) -> None:
        """Print how far all steps are, until closing is set."""
        while not closing.wait(self._every):
            with self._lock:
                for work in self._steps:
                    say_aside(work.state())
                if self._steps:
                    self._say(self._phase.state())

    def _end_phase(self, how: str = "done") -> None:
        if self._phase.done:
            say_aside(f"{self._phase.measure()}, {how}")
        self._phase.done = 0

    def _say(self, text: str) -> None:
        """Print how a phase stands, and how the objective does."""
        say_aside(f"{text}; {self._deadline.told()}" if self._deadline else text)


def make_progress(mode: Mode) -> ClosingProgress:
    """Return what shows progress as mode asks. Bars need a terminal: elsewhere they become lines."""
    if mode == "none":
        return NoProgress()
    if mode != "plain" and sys.stderr.isatty():
        from drtool.cli.bars import BarProgress  # noqa: PLC0415 - rich is slow to load, and only bars need it

        return BarProgress()
    return LineProgress()
