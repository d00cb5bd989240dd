"""Seconds that go on while the machine sleeps: what others do, and what they let expire, does not wait for us."""

import time
from typing import Final

# macOS has only one, which does.
_SLEEPLESS: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Return seconds since some moment before this process began."""
    return time.clock_gettime(_SLEEPLESS)
