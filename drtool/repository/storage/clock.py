"""The clocks of who asks and of who is asked: how long something took, and what moment a store's whole second means."""

import time
from datetime import datetime, timedelta
from typing import Final

# macOS has only one, which goes on while the machine sleeps: what others do, and let expire, does not wait for us.
_SLEEPLESS: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_SECOND: Final = timedelta(seconds=1)


def elapsed() -> float:
    """Return seconds since some moment before this process began; they go on while the machine sleeps."""
    return time.clock_gettime(_SLEEPLESS)


def within(second: datetime, ours: datetime) -> datetime:
    """Return the moment of second, which a store's clock tells with its fraction cut off, that ours is nearest to.

    So who asks twice within a second gets them in order, by a machine whose clock agrees with the store's. One that is
    off by more than that second tells nothing of the fraction: it may be wrong by anything.
    """
    if not second - _SECOND <= ours <= second + 2 * _SECOND:
        return second
    return min(max(ours, second), second + _SECOND - timedelta.resolution)
