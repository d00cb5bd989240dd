"""How long the data will take: as earlier restores took, and never a guess."""

import pytest

from tests.recovery.stage import made, policy

PACE = {"postgres": 10.0, "redis": 100.0, "media": 1.0}  # of volumes of 1,000 bytes
ORDER = "recovery: {order: [objects, redis, postgres, media]}"


@pytest.mark.parametrize(("more", "seconds"), [("", 1000), (ORDER, 1110)])
def test_volumes_take_as_long_as_the_slowest_or_one_after_the_other_where_they_have_an_order(
    more: str, seconds: int
) -> None:
    found = made(pace=PACE, of=policy(more))

    assert found.predicted is not None
    assert found.predicted.total_seconds() == seconds
    assert found.unmeasured == ()


def test_what_was_never_measured_is_said_and_not_guessed() -> None:
    found = made(pace={"postgres": 10.0})

    assert found.predicted is None
    assert found.unmeasured == ("redis", "media")


def test_data_that_takes_longer_than_the_rto_is_a_promise_that_is_missed() -> None:
    found = made(pace={**PACE, "media": 0.1})

    assert found.missed[-1] == "the data alone would take 2 h 46 min, and the RTO is 1 h"
