from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.policy.cadence import Cadence, cadence, derive_interval
from drtool.policy.durations import parse_duration
from drtool.policy.schedule import Cron, Every
from tests.policy.conftest import MakePolicy

MINUTE = timedelta(minutes=1)
REDIS = {"name": "redis", "source": "redis", "host": "redis"}
POSTGRES = {"name": "postgres", "source": "postgres", "host": "db", "user": "drtool"}


def cadence_of(make_policy: MakePolicy, volume: dict[str, Any], duration: timedelta | None = None) -> Cadence:
    policy = make_policy(volumes=[volume])
    return cadence(policy, policy.volumes[0], duration)


def test_the_interval_survives_one_failed_run(make_policy: MakePolicy) -> None:
    """RPO 15 min, p99 of 2 min: at most (15 − 2) / 2 = 6.5 min, so every 6 minutes."""
    pace = cadence_of(make_policy, REDIS, 2 * MINUTE)
    assert pace.schedule == Every(6 * MINUTE)
    assert pace.worst_exposure == 8 * MINUTE
    assert pace.after_one_failure == 14 * MINUTE
    assert pace.survives_a_failure
    assert (
        pace.arithmetic == "6 min (interval) + 0 s (jitter) + 2 min (duration) = 8 min at worst, RPO 15 min"
    )


def test_an_unmeasured_duration_is_assumed_and_said_to_be(make_policy: MakePolicy) -> None:
    pace = cadence_of(make_policy, {**REDIS, "jitter": "30s"})
    assert pace.schedule == Every(6 * MINUTE)
    assert "30 s (jitter) + 1 min 30 s (duration, assumed) = 8 min at worst" in pace.arithmetic


def test_a_given_schedule_is_judged_by_its_longest_gap(make_policy: MakePolicy) -> None:
    volume = {**REDIS, "schedule": "*/15 8-18 * * *", "time_zone": "Europe/Berlin", "rpo": "12h"}
    pace = cadence_of(make_policy, volume)
    assert pace.schedule == Cron("*/15 8-18 * * *", "Europe/Berlin")
    assert pace.interval == timedelta(hours=14, minutes=15)
    assert not pace.meets_rpo


def test_exposure_of_postgres_follows_from_its_tails_not_from_its_base_backups(
    make_policy: MakePolicy,
) -> None:
    pace = cadence_of(make_policy, POSTGRES)
    assert pace.schedule == Every(timedelta(days=1))
    assert pace.interval == timedelta(seconds=90)
    pace = cadence_of(make_policy, {**POSTGRES, "tail_every": "20m", "schedule": "0 2 * * 0"})
    assert pace.schedule == Cron("0 2 * * 0")
    assert not pace.meets_rpo


@pytest.mark.parametrize(
    ("rpo", "delay", "interval"),
    [
        ("15m", "2m", timedelta(minutes=6)),
        ("24h", "1h", timedelta(hours=8)),
        ("7d", "1h", timedelta(days=3)),
        ("10s", "1s", timedelta(seconds=4)),
        ("1s", "1s", timedelta(seconds=1)),
    ],
)
def test_intervals_are_round(rpo: str, delay: str, interval: timedelta) -> None:
    assert derive_interval(parse_duration(rpo), parse_duration(delay)) == interval


@given(st.timedeltas(timedelta(seconds=4), timedelta(days=90)), st.floats(0, 0.5))
def test_a_derived_interval_meets_the_rpo_with_one_run_lost(rpo: timedelta, share: float) -> None:
    delay = rpo * share
    interval = derive_interval(rpo, delay)
    assert 2 * interval + delay <= rpo or interval == timedelta(seconds=1)
