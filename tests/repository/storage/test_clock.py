"""What moment a store's whole second means, by a machine whose clock agrees with the store's, and by any other."""

from datetime import UTC, datetime, timedelta

import pytest

from drtool.repository.config import CLOCK_GRAIN
from drtool.repository.storage.clock import within

SECOND = datetime(2026, 11, 25, 12, tzinfo=UTC)
LAST = timedelta(seconds=1) - timedelta.resolution


def told(after: float, took: float) -> timedelta:
    """Return how far into the second a machine is told to be that reads its own clock so many seconds after it."""
    return within(SECOND, SECOND + timedelta(seconds=after), took) - SECOND


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.75, 0.999])
@pytest.mark.parametrize("stall", [0.0, 0.3, 1.5, 40.0])
def test_a_machine_that_agrees_and_stalls_behind_the_answer_is_told_no_moment_before_it(
    fraction: float, stall: float
) -> None:
    moment = told(fraction + stall, took=stall)
    assert min(timedelta(seconds=fraction), LAST) <= moment <= LAST
    if not stall:
        assert moment == timedelta(seconds=fraction)


@pytest.mark.parametrize("ahead", [1.02, 1.5, 1.99, 3600.0])
def test_a_machine_that_is_seen_to_be_ahead_of_the_answer_tells_nothing_of_the_fraction(ahead: float) -> None:
    assert told(ahead, took=0.01) == timedelta(0)


@pytest.mark.parametrize("off", [-3600.0, -1.0, -0.1, 0.4, 0.9, 1.0, 1.9, 2.0, 3600.0])
@pytest.mark.parametrize("took", [0.0, 0.9, 30.0])
def test_no_machine_is_told_a_moment_outside_the_second(off: float, took: float) -> None:
    """What a writer says of its times then never contradicts when the store, by its own whole seconds, received it."""
    assert timedelta(0) <= told(off, took) <= LAST
    assert timedelta(seconds=1) + LAST < CLOCK_GRAIN
