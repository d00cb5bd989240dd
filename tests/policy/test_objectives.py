from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.policy.objectives import DurablePoint, Rates, compliance, exposure, predict_recovery, skew

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def point(moment: float, durable: float) -> DurablePoint:
    return DurablePoint(after(moment), after(durable))


def test_exposure_counts_only_what_is_durable_by_then() -> None:
    points = [point(0, 2), point(10, 15)]
    assert exposure(points, after(1)) is None
    assert exposure(points, after(14)) == timedelta(minutes=14)
    assert exposure(points, after(15)) == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("points", "share"),
    [
        ([], 0.0),
        ([point(0, 0)], 0.15),
        ([point(0, 0), point(10, 10), point(20, 20)], 0.35),
        ([point(0, 20)], 0.0),
        ([point(0, 50)], 0.0),
        ([point(-10, -10), point(95, 100), point(200, 200)], 0.05),
        ([point(10, 10), point(0, 12)], 0.15),
        ([point(minute, minute) for minute in range(0, 100, 10)], 1.0),
    ],
    ids=[
        "no point",
        "one point, RPO 15 of 100 minutes",
        "three points",
        "durable too late to matter",
        "much too late",
        "before the start",
        "an older point that comes later takes nothing away",
        "always",
    ],
)
def test_compliance_is_the_share_of_time_inside_the_rpo(points: list[DurablePoint], share: float) -> None:
    assert compliance(points, timedelta(minutes=15), NOON, after(100)) == pytest.approx(share)


@given(st.lists(st.tuples(st.integers(-50, 120), st.integers(0, 40)), max_size=8), st.integers(1, 30))
def test_compliance_agrees_with_exposure_asked_minute_by_minute(
    pairs: list[tuple[int, int]], rpo: int
) -> None:
    points = [point(moment, moment + delay) for moment, delay in pairs]
    asked = [exposure(points, after(minute + 0.5)) for minute in range(100)]
    inside = sum(found is not None and found <= timedelta(minutes=rpo) for found in asked)
    assert compliance(points, timedelta(minutes=rpo), NOON, after(100)) == pytest.approx(inside / 100)


def test_skew_is_the_distance_between_the_oldest_and_the_newest() -> None:
    assert skew([after(3), NOON, after(1)]) == timedelta(minutes=3)
    assert skew([]) == timedelta(0)


def test_a_recovery_is_predicted_by_its_phases() -> None:
    rates = Rates(restore=100e6, replay=10e6, deploy=timedelta(minutes=5), proofs=timedelta(minutes=2))
    predicted = predict_recovery(60_000_000_000, 3_000_000_000, rates)
    assert predicted.data == timedelta(minutes=10)
    assert predicted.replay == timedelta(minutes=5)
    assert predicted.total == timedelta(minutes=22)
