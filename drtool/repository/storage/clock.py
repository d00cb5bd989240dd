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


def within(second: datetime, ours: datetime, took: float) -> datetime:
    """Return the moment of second, which a store's clock tells with its fraction cut off, that ours is nearest to.

    ours was read behind the answer that told the second, which took so many seconds, that look included. A machine
    whose clock agrees with the store's so gets moments in the order in which it asks, each at most took behind the
    store's clock then. One whose clock is ahead by so much that this shows tells nothing of the fraction. Whatever the
    machine's clock, the moment lies within second, and so is less than a second off from the store's clock.
    """
    if ours > second + _SECOND + timedelta(seconds=took):
        return second
    return min(max(ours, second), second + _SECOND - timedelta.resolution)
