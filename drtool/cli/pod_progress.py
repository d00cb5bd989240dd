"""How far the work is, for who reads the log of a pod: a line with the bytes that are moved, every other second."""

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from threading import Lock
from time import monotonic

from drtool.cli.output import say_aside
from drtool.cli.units import printable
from drtool.operations.mover_progress import Moved, to_line
from drtool.operations.session import Progress

_EVERY_S = 2.0


class PodProgress:
    """Says what is done when that begins, and then how far it is; whoever reads it draws the bars."""

    def __init__(self, every_s: float = _EVERY_S) -> None:
        self._every = every_s
        self._lock = Lock()
        self._moved = Moved("", 0)
        self._said = monotonic()

    def phase(self, name: str, total: int | None = None) -> None:  # noqa: ARG002 - who reads knows what comes
        """Say what begins."""
        with self._lock:
            self._moved = Moved(name, self._moved.size)
            self._say()

    def advance(self, size: int) -> None:
        """Count size more bytes; say so if it is time."""
        with self._lock:
            self._moved = Moved(self._moved.doing, self._moved.size + size)
            if monotonic() - self._said >= self._every:
                self._say()

    def note(self, text: str) -> None:
        """Print a note."""
        with self._lock:
            say_aside(f"note: {printable(text)}")

    def interrupted(self) -> None:
        """Say nothing: the pod's end tells."""

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[Progress]:  # noqa: ARG002 - as above
        """Return this one: a mover does one thing at a time."""
        return nullcontext(self)

    def promise(self, whole: timedelta, spent: timedelta) -> None:
        """Say nothing: who reads knows the promise."""

    def close(self) -> None:
        """Do nothing."""

    def _say(self) -> None:
        self._said = monotonic()
        say_aside(to_line(self._moved))
