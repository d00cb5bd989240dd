from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.policy.durations import brief_duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("90d", timedelta(days=90)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("500ms", timedelta(milliseconds=500)),
        ("1m500ms", timedelta(minutes=1, milliseconds=500)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_read_and_written_alike(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration
    assert format_duration(duration) == text


@pytest.mark.parametrize(
    "text", ["", "15", "m", "-15m", "15 m", "1m1h", "1.5h", "15M", "1h\n", "٣m", "9999999d", "1w"]
)
def test_what_is_no_duration_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a duration$"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_every_duration_to_the_millisecond_survives_the_way_through_text(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=3, hours=4, minutes=5), "3 d 4 h"),
        (timedelta(hours=1), "1 h"),
        (timedelta(minutes=6, seconds=18, milliseconds=7), "6 min 18 s"),
        (timedelta(seconds=59, milliseconds=999), "59.9 s"),
        (timedelta(seconds=3, milliseconds=500), "3.5 s"),
        (timedelta(seconds=30), "30 s"),
        (timedelta(milliseconds=100), "0.1 s"),
        (timedelta(milliseconds=40), "40 ms"),
        (timedelta(minutes=-5), "-5 min"),
        (timedelta(microseconds=3), "0 s"),
    ],
)
def test_a_brief_duration_has_two_units_at_most(duration: timedelta, text: str) -> None:
    assert brief_duration(duration) == text


def test_a_brief_duration_has_as_few_units_as_are_asked_for() -> None:
    assert brief_duration(timedelta(hours=1, minutes=3), 1) == "1 h"
