from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from drtool.policy.durations import parse_duration
from drtool.policy.retention import Decision, Retention, decide

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class FakePoint:
    id: str
    time: datetime
    verified: bool = False
    held: bool = False


def every(interval: timedelta, span: timedelta) -> list[FakePoint]:
    times = [NOW - number * interval for number in range(span // interval)]
    return [FakePoint(f"{time:%Y-%m-%dT%H:%M}", time) for time in times]


def ids(points: tuple[FakePoint, ...]) -> set[str]:
    return {point.id for point in points}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_a_series_is_decided_as_the_golden_file_says(path: Path) -> None:
    """The first line has the interval and the span of the points and the rules; the rest is what is kept, and why."""
    head, *expected = path.read_text(encoding="utf-8").splitlines()
    interval, span, *rules = head.removeprefix("# ").split()
    given_rules = Retention.model_validate(dict(rule.split("=") for rule in rules))
    decision = decide(every(parse_duration(interval), parse_duration(span)), given_rules, NOW)
    kept = [
        f"{verdict.point.id} {', '.join(verdict.reasons)}" for verdict in decision.verdicts if verdict.keep
    ]
    assert [*kept, f"expired {len(decision.expired)}"] == expected


def test_the_chosen_point_of_an_hour_stays_until_at_least() -> None:
    rules = Retention(last=1, hourly=2, at_least=DAY)
    kept = ids(decide(every(timedelta(minutes=15), 3 * DAY), rules, NOW).kept)
    assert kept == {point.id for point in every(timedelta(minutes=15), DAY) if point.time.minute == 45} | {
        f"{NOW:%Y-%m-%dT%H:%M}"
    }


def test_a_flood_of_points_cannot_push_out_those_younger_than_at_least() -> None:
    good = every(HOUR, 3 * DAY)
    flood = [FakePoint(f"flood-{number}", NOW - timedelta(seconds=number)) for number in range(1000)]
    for rules in (Retention(last=3, at_least=2 * DAY), Retention(last=3, hourly=4, at_least=2 * DAY)):
        kept = ids(decide(good + flood, rules, NOW).kept)
        assert {point.id for point in good if NOW - 2 * DAY < point.time < NOW - HOUR} <= kept


def test_points_dated_in_the_future_are_kept_and_take_no_place() -> None:
    future = [FakePoint(f"future-{number}", NOW + (number + 1) * DAY) for number in range(10)]
    decision = decide(future + every(DAY, 5 * DAY), Retention(last=2), NOW)
    assert ids(decision.kept) == {point.id for point in future} | {"2025-03-01T12:00", "2025-02-28T12:00"}
    assert decision.verdicts[0].reasons == ("dated in the future",)


def test_the_newest_verified_point_and_the_held_ones_stay_whatever_the_rules() -> None:
    points = every(DAY, 20 * DAY)
    old, older, held = points[10], points[11], points[15]
    points[10] = FakePoint(old.id, old.time, verified=True)
    points[11] = FakePoint(older.id, older.time, verified=True)
    points[15] = FakePoint(held.id, held.time, held=True)
    decision = decide(points, Retention(last=1), NOW)
    reasons = {verdict.point.id: verdict.reasons for verdict in decision.verdicts if verdict.keep}
    assert reasons == {
        points[0].id: ("last", "newest"),
        old.id: ("newest verified",),
        held.id: ("held",),
    }


def test_more_than_half_of_a_series_does_not_go_untold() -> None:
    assert decide(every(DAY, 5 * DAY), Retention(last=2), NOW).must_be_told
    assert not decide(every(DAY, 4 * DAY), Retention(last=2), NOW).must_be_told
    assert not decide(list[FakePoint](), Retention(last=2), NOW).must_be_told


def test_rules_that_keep_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="keeps nothing"):
        Retention(at_least=DAY)


counts = st.integers(0, 5)
any_rules = st.builds(
    lambda last, hourly, daily, weekly, yearly, floor: Retention(
        last=last, hourly=hourly, daily=daily, weekly=weekly, yearly=yearly, at_least=floor
    ),
    st.integers(1, 3),
    counts,
    counts,
    counts,
    counts,
    st.timedeltas(timedelta(0), 5 * DAY),
)
any_points = st.lists(
    st.builds(
        FakePoint,
        st.uuids().map(str),
        st.timedeltas(-2 * DAY, 60 * DAY).map(lambda age: NOW - age),
        st.booleans(),
        st.booleans(),
    ),
    max_size=60,
)


@given(any_points, any_rules)
@settings(max_examples=200, deadline=None)
def test_retention_never_empties_and_respects_its_floor(points: list[FakePoint], rules: Retention) -> None:
    decision = decide(points, rules, NOW)
    assert ids(decision.kept) | ids(decision.expired) == {point.id for point in points}
    assert bool(decision.kept) == bool(points)
    assert all(point.id in ids(decision.kept) for point in points if point.held or point.time > NOW)
    verified = [point for point in points if point.verified]
    if verified:
        assert max(verified, key=lambda point: (point.time, point.id)).id in ids(decision.kept)
    young = [point for point in points if NOW - rules.at_least < point.time <= NOW]
    if rules.hourly:
        assert_each_hour_has_a_kept_point(young, decision)
    elif not (rules.daily or rules.weekly or rules.yearly):
        assert {point.id for point in young} <= ids(decision.kept)


def assert_each_hour_has_a_kept_point(young: list[FakePoint], decision: Decision[FakePoint]) -> None:
    for _, group in groupby(
        sorted(young, key=lambda point: point.time), lambda point: f"{point.time:%Y%m%d%H}"
    ):
        assert {point.id for point in group} & ids(decision.kept)


@given(any_points, any_rules)
@settings(max_examples=100, deadline=None)
def test_deciding_again_on_what_was_kept_expires_nothing(points: list[FakePoint], rules: Retention) -> None:
    kept = decide(points, rules, NOW).kept
    assert ids(decide(kept, rules, NOW).kept) == ids(kept)
