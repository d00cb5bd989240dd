from datetime import UTC, datetime, timedelta, timezone

import pytest

from drtool.cli import units
from drtool.errors import UsageError
from drtool.policy.moments import exact

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T10:00:00Z", datetime(2026, 11, 25, 10, tzinfo=UTC)),
        ("2026-11-25T10:00:00.123456Z", datetime(2026, 11, 25, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-25 12:00+02:00", datetime(2026, 11, 25, 10, tzinfo=UTC)),
        ("10m ago", NOW - timedelta(minutes=10)),
        ("1h30m ago", NOW - timedelta(minutes=90)),
        ("2h 5m ago", NOW - timedelta(minutes=125)),
        ("3 min ago", NOW - timedelta(minutes=3)),
    ],
)
def test_a_moment_is_read_as_utc(text: str, expected: datetime) -> None:
    assert units.parse_moment(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2026-11-25T10:00:00", "2026-11-25T10:00:00Z"),
        ("2026-11-25", "2026-11-25T00:00:00Z"),
        ("yesterday", "10m ago"),
        ("long ago", "10m ago"),
        ("999999d999999d ago", "10m ago"),
        ("999999d ago", "10m ago"),
    ],
)
def test_a_moment_without_a_time_zone_or_a_meaning_is_refused_with_what_to_write(
    text: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        units.parse_moment(text, NOW)
    assert hint in caught.value.hint


def test_an_exact_moment_is_what_a_moment_reads_back() -> None:
    moment = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert units.parse_moment(exact(moment), NOW) == moment


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "now"),
        (0.4, "now"),
        (2.9, "2 s ago"),
        (59, "59 s ago"),
        (180, "3 min ago"),
        (7300, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_a_relative_time_names_its_largest_unit(seconds: float, expected: str) -> None:
    assert units.relative(NOW - timedelta(seconds=seconds), NOW) == expected


def test_a_relative_time_knows_the_future() -> None:
    assert units.relative(NOW + timedelta(minutes=5), NOW) == "in 5 min"


def test_when_says_both_forms_or_nothing() -> None:
    assert units.when(NOW.replace(hour=11, microsecond=5), NOW) == "2026-11-25T11:00:00Z (59 min ago)"
    assert units.when(None, NOW) == "-"


@pytest.mark.parametrize(
    ("count", "seconds", "expected"), [(2**20, 2, "512 KiB/s"), (0, 2, "-"), (5, 0, "-")]
)
def test_a_rate_is_given_where_it_says_something(count: int, seconds: float, expected: str) -> None:
    assert units.rate(count, seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.84, "0.8 s"), (3.0, "3 s"), (59.94, "59.9 s"), (150, "2 min 30 s"), (3789, "1 h 3 min")],
)
def test_a_duration_is_as_exact_as_it_matters(seconds: float, expected: str) -> None:
    assert units.took(seconds) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, "0 points"), (1, "1 point"), (2, "2 points")])
def test_one_thing_is_not_many(count: int, expected: str) -> None:
    assert units.counted(count, "point") == expected
