"""How far the work is, on stderr: bars on a terminal, a line now and then elsewhere, or nothing."""

import sys
from threading import Lock
from time import monotonic
from typing import Final, Literal, Protocol

from drtool.cli.output import say_aside
from drtool.cli.units import rate, size
from drtool.operations.session import Progress, Silent

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
    """One line for each phase, and one every 30 seconds while bytes move."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every = every_s
        self._lock = Lock()
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._began = self._said = monotonic()

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin a phase, and say how the one before it ended."""
        with self._lock:
            self._end_phase()
            self._name, self._total, self._done = name, total, 0
            self._began = self._said = monotonic()
            say_aside(f"{name}: {size(total)}" if total else name)

    def advance(self, size: int) -> None:
        """Count size more bytes; say so if it is time."""
        with self._lock:
            self._done += size
            if monotonic() - self._said >= self._every:
                self._said = monotonic()
                say_aside(self._state())

    def note(self, text: str) -> None:
        """Print a note."""
        with self._lock:
            say_aside(f"note: {text}")

    def interrupted(self) -> None:
        """Say how far the phase came that was interrupted."""
        with self._lock:
            self._end_phase("interrupted")

    def close(self) -> None:
        """Say how the last phase ended."""
        with self._lock:
            self._end_phase()

    def _end_phase(self, how: str = "done") -> None:
        if self._done:
            say_aside(f"{self._state()}, {how}")
        self._done = 0

    def _state(self) -> str:
        of = f" of {size(self._total)} ({self._done * 100 // self._total} %)" if self._total else ""
        return f"{self._name}: {size(self._done)}{of}, {rate(self._done, monotonic() - self._began)}"


def make_progress(mode: Mode) -> ClosingProgress:
    """Return what shows progress as mode asks. Bars need a terminal: elsewhere they become lines."""
    if mode == "none":
        return NoProgress()
    if mode != "plain" and sys.stderr.isatty():
        from drtool.cli.bars import BarProgress  # noqa: PLC0415 - rich is slow to load, and only bars need it

        return BarProgress()
    return LineProgress()
