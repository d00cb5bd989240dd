from datetime import UTC, datetime, timedelta
from itertools import count, takewhile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drtool.policy.cadence import cadence
from drtool.policy.cost import Cost, cost, points_kept
from drtool.policy.retention import Retention, decide
from tests.policy.conftest import MakePolicy
from tests.policy.test_retention import FakePoint

DAY = timedelta(days=1)
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


def cost_of(make_policy: MakePolicy, volume: dict[str, Any], size: int | None = None) -> Cost:
    policy = make_policy(volumes=[{"name": "v", **volume}], retention={"last": 3, "daily": 14})
    return cost(policy, policy.volumes[0], cadence(policy, policy.volumes[0]), size)


def test_an_rdb_is_stored_whole_each_time(make_policy: MakePolicy) -> None:
    found = cost_of(make_policy, {"source": "redis", "host": "r"}, size=64 * 2**20)
    assert found.points == 17
    assert found.stored_bytes == 17 * 64 * 2**20
    assert found.objects == 7200 * 4 + 2 * 7200


def test_files_are_stored_once_a_window(make_policy: MakePolicy) -> None:
    found = cost_of(make_policy, {"source": "files", "claim": "c"}, size=10**9)
    assert found.stored_bytes == 2 * 10**9


def test_wal_tails_are_objects_of_a_postgres_volume(make_policy: MakePolicy) -> None:
    found = cost_of(make_policy, {"source": "postgres", "host": "h", "user": "u"})
    assert found == Cost(points=17, objects=30 * 4 + 28800, requests=30 * 6 + 28800, stored_bytes=None)


@pytest.mark.parametrize(
    ("rules", "gap", "points"),
    [
        (Retention(last=3), timedelta(hours=1), 3),
        (Retention(last=3, at_least=DAY), timedelta(hours=1), 24),
        (Retention(last=3, hourly=24, at_least=7 * DAY), timedelta(minutes=6), 3 + 169),
        (Retention(daily=14, weekly=8), DAY, 22),
    ],
)
def test_the_number_of_points_follows_from_the_rules(rules: Retention, gap: timedelta, points: int) -> None:
    assert points_kept(rules, gap) == points


@given(
    st.builds(
        lambda last, hourly, daily, floor: Retention(last=last, hourly=hourly, daily=daily, at_least=floor),
        st.integers(1, 5),
        st.integers(0, 30),
        st.integers(0, 5),
        st.timedeltas(timedelta(0), 4 * DAY),
    ),
    st.sampled_from([timedelta(minutes=20), timedelta(hours=1), timedelta(hours=5), DAY]),
)
@settings(max_examples=60, deadline=None)
def test_retention_never_keeps_more_points_than_were_estimated(rules: Retention, gap: timedelta) -> None:
    times = takewhile(lambda time: time > NOW - 10 * DAY, (NOW - number * gap for number in count()))
    kept = decide([FakePoint(str(time), time) for time in times], rules, NOW).kept
    assert len(kept) <= points_kept(rules, gap)
