"""Waiting for what a cluster does in its own time: for so long, and no longer than drtool is to run."""

import time
from typing import Final

from drtool.errors import TemporaryFailure
from drtool.operations.session import World

_PAUSE_S: Final = 0.5


class Deadline:
    """So many seconds from now."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world = world
        self._end = time.monotonic() + seconds

    def is_over(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() > self._end

    def wait(self, seconds: float = _PAUSE_S) -> None:
        """Pause before another look. Raises TemporaryFailure once drtool is asked to end."""
        if self._world.ending.wait(seconds):
            raise TemporaryFailure(
                "drtool was asked to end", hint="Nothing is lost: what was done stays done."
            )
