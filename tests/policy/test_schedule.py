from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drtool.policy.schedule import COUNT_LIMIT, Cron, Every, Schedule, check_cron, check_time_zone

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def starts(schedule: Schedule, after: str, count: int) -> list[str]:
    found = []
    moment = at(after)
    for _ in range(count):
        moment = schedule.next(moment)
        found.append(f"{moment:%dT%H:%M}")
    return found


def test_a_late_run_does_not_push_the_next_one() -> None:
    every = Every(5 * MINUTE)
    assert not every.due(at("2025-01-01T12:00:07"), at("2025-01-01T12:04:59"))
    assert every.due(at("2025-01-01T12:00:07"), at("2025-01-01T12:05:00"))
    assert every.due(at("2025-01-01T12:04:59"), at("2025-01-01T12:05:00"))


@pytest.mark.parametrize("schedule", [Every(5 * MINUTE), Cron("*/5 * * * *")])
def test_a_volume_without_a_run_or_with_one_from_the_far_future_is_due(schedule: Schedule) -> None:
    now = at("2025-01-01T12:01")
    assert schedule.due(None, now)
    assert schedule.due(now + DAY, now)
    assert not schedule.due(now + SECOND, now)


@pytest.mark.parametrize(
    ("schedule", "since", "now", "count"),
    [
        (Every(5 * MINUTE), "2025-01-01T00:00", "2025-01-01T00:00", 0),
        (Every(5 * MINUTE), "2025-01-01T00:00", "2025-01-01T01:00", 12),
        (Every(5 * MINUTE), "2015-01-01T00:00", "2025-01-01T00:00", COUNT_LIMIT),
        (Every(5 * MINUTE), "2025-01-02T00:00", "2025-01-01T00:00", 0),
        (Cron("*/5 * * * *"), "2025-01-01T00:00", "2025-01-01T01:00", 12),
        (Cron("0 0 * * *"), "2025-01-01T00:00", "2025-01-08T00:00", 7),
        (Cron("* * * * *"), "2015-01-01T00:00", "2025-01-01T00:00", COUNT_LIMIT),
    ],
)
def test_missed_runs_are_counted_up_to_a_limit(schedule: Schedule, since: str, now: str, count: int) -> None:
    assert schedule.missed(at(since), at(now)) == count


def test_a_cron_line_follows_its_time_zone() -> None:
    assert starts(Cron("0 3 * * *", "Europe/Berlin"), "2025-01-10T00:00", 2) == ["10T02:00", "11T02:00"]
    assert starts(Cron("0 3 * * *", "Europe/Berlin"), "2025-07-10T00:00", 2) == ["10T01:00", "11T01:00"]
    assert starts(Cron("30 5 * * *", "Asia/Kolkata"), "2025-07-10T00:00:30", 1) == ["11T00:00"]


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        # 30 March 2025: 02:00 CET becomes 03:00 CEST at 01:00 UTC.
        ("30 2 * * *", "2025-03-29T12:00", ["30T01:00", "31T00:30"]),
        ("*/20 * * * *", "2025-03-30T00:30", ["30T00:40", "30T01:00", "30T01:20"]),
        ("0 4 * * *", "2025-03-29T12:00", ["30T02:00", "31T02:00"]),
        # 26 October 2025: 03:00 CEST becomes 02:00 CET at 01:00 UTC.
        ("30 2 * * *", "2025-10-25T12:00", ["26T00:30", "26T01:30", "27T01:30"]),
        ("*/20 * * * *", "2025-10-26T00:30", ["26T00:40", "26T01:00", "26T01:20"]),
        ("0 4 * * *", "2025-10-25T12:00", ["26T03:00", "27T03:00"]),
    ],
)
def test_no_run_is_lost_when_the_clocks_change(line: str, after: str, expected: list[str]) -> None:
    assert starts(Cron(line, "Europe/Berlin"), after, len(expected)) == expected


def test_a_line_that_fits_one_day_in_years_is_found_across_changes_of_the_clock() -> None:
    assert Cron("0 12 29 2 *", "Europe/Berlin").next(at("2024-07-01T00:00")) == at("2028-02-29T11:00")
    assert Cron("0 12 1 7 *", "Europe/Berlin").next(at("2025-01-01T00:00")) == at("2025-07-01T10:00")


@pytest.mark.parametrize(
    ("line", "zone", "gap"),
    [
        ("*/5 * * * *", "UTC", 5 * MINUTE),
        ("*/5 * * * *", "Europe/Berlin", 5 * MINUTE),
        ("*/7 * * * *", "UTC", 7 * MINUTE),
        ("0 2 * * *", "UTC", DAY),
        ("0 2 * * *", "Europe/Berlin", 25 * HOUR),
        ("0 2,14 * * *", "UTC", 12 * HOUR),
        ("*/15 9-17 * * 1-5", "UTC", 63 * HOUR + 15 * MINUTE),
        ("0 0 1 3,4 *", "UTC", 335 * DAY),
        ("0 0 29 2 *", "UTC", 1461 * DAY),
    ],
)
def test_the_longest_gap_of_a_cron_line_is_found(line: str, zone: str, gap: timedelta) -> None:
    assert Cron(line, zone).longest_gap() == gap


@given(
    st.sampled_from(
        [
            "*/5 * * * *",
            "*/7 */3 * * *",
            "0 2 * * *",
            "30 2 * * *",
            "59 1,2 * * 0",
            "15 9-17 * * 1-5",
            "0 0 1 * *",
        ]
    ),
    st.sampled_from(
        [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kolkata",
            "America/Santiago",
        ]
    ),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive bounds
)
@settings(max_examples=200, deadline=None)
def test_starts_advance_and_never_lie_further_apart_than_the_longest_gap(
    line: str, zone: str, moment: datetime
) -> None:
    schedule = Cron(line, zone)
    first = schedule.next(moment.replace(tzinfo=UTC))
    second = schedule.next(first)
    assert moment.replace(tzinfo=UTC) < first < second
    assert second - first <= schedule.longest_gap()
    assert schedule.next(second - timedelta(microseconds=1)) == second


@given(
    st.timedeltas(min_value=SECOND, max_value=40 * DAY),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive bounds
)
def test_an_interval_has_one_start_in_each_of_its_lengths(interval: timedelta, moment: datetime) -> None:
    schedule = Every(interval)
    now = moment.replace(tzinfo=UTC)
    assert now < schedule.next(now) <= now + interval
    assert schedule.missed(now, now + interval) == 1
    assert schedule.due(now, now + interval)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("* * * *", "five fields, this one 4"),
        ("* * * * * *", "five fields, this one 6"),
        ("@daily", "five fields, this one 1"),
        ("R 2 * * *", "is not a cron line"),
        ("H 2 * * *", "is not a cron line"),
        ("61 * * * *", "out of range"),
        ("0 0 30 2 *", "failed to find next date"),
        ("$ * * * *", "is not a cron line"),
    ],
)
def test_a_line_that_never_runs_or_by_chance_is_refused(line: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        check_cron(line)


@pytest.mark.parametrize("name", ["Europe/Belrin", "", "../etc/passwd", "Europe"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        check_time_zone(name)
    assert check_time_zone("Europe/Berlin") == "Europe/Berlin"


def test_schedules_say_in_words_when_they_run() -> None:
    assert str(Every(6 * MINUTE)) == "every 6 min"
    assert str(Cron("*/5 * * * *", "Europe/Berlin")) == "*/5 * * * * (Europe/Berlin)"
