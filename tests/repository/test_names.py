"""Names of objects, and the times and weeks that stand in them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt
from drtool.repository.format import names

MOMENT = datetime(2026, 11, 25, 16, 44, 0, 123456, tzinfo=UTC)
HASH = "ab" * 32
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


@pytest.mark.parametrize("label", ["a", "wesago", "a-b-9", "x" * 25])
def test_a_label_of_the_format_is_taken(label: str) -> None:
    assert names.check_label(label) == label


@pytest.mark.parametrize("label", ["", "A", "a_b", "x" * 26, "a/b", "é", "a\n"])
def test_another_label_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="is not a name of 1 to 25"):
        names.check_label(label)


@given(moments)
def test_a_time_in_a_name_or_record_is_read_as_it_was_written(moment: datetime) -> None:
    assert names.parse_name_time(names.name_time(moment)) == moment
    assert names.parse_json_time(names.json_time(moment)) == moment


@given(moments, moments)
def test_times_in_names_sort_as_text(one: datetime, other: datetime) -> None:
    assert (names.name_time(one) < names.name_time(other)) == (one < other)


@given(st.text(max_size=30) | st.from_regex(r"[0-9T:.Z-]{20,28}", fullmatch=True))
def test_any_other_text_is_no_time(text: str) -> None:
    for parse in (names.parse_name_time, names.parse_json_time):
        with pytest.raises(Corrupt, match="is no time of"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "parse"),
    [
        ("2026-1-5T1:2:3.5Z", names.parse_json_time),
        ("2026-01-05T01:02:03.5Z", names.parse_json_time),
        ("2026-01-05T01:02:03.500000+00:00", names.parse_json_time),
        (None, names.parse_json_time),
        (5, names.parse_json_time),
        ("20260105T010203.5Z", names.parse_name_time),
        ("20260230T010203.500000Z", names.parse_name_time),
    ],
)
def test_a_second_way_to_write_a_time_is_refused(text, parse) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Corrupt, match="is no time of"):
        parse(text)


@pytest.mark.parametrize(
    ("moment", "week"),
    [
        (MOMENT, "2026W48"),
        (datetime(2027, 1, 1, tzinfo=UTC), "2026W53"),
        (datetime(2024, 12, 30, tzinfo=UTC), "2025W01"),
        (datetime(2027, 1, 4, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2026W53"),
    ],
)
def test_weeks_are_iso_weeks_in_utc(moment: datetime, week: str) -> None:
    assert names.week(moment) == week


def test_prefixes_are_those_of_the_format() -> None:
    time = "20261125T164400.123456Z"
    assert names.pack_prefix("v", MOMENT) == "packs/v/2026W48/"
    assert names.list_prefix("v", MOMENT) == "lists/v/2026W48/"
    assert names.timed_prefix("snap", "v", MOMENT) == f"snap/v/{time}-"
    assert names.run_prefix("backup", MOMENT) == f"runs/20261125/{time}-backup-"
    assert names.lineage_prefix("wal", "v", "7-17-1") == "wal/v/7-17-1/"


@pytest.mark.parametrize("prefix", ["config/0-", "packs/v/2026W48/", "wal/v/7-17-1/00000001/X-"])
def test_a_name_splits_into_prefix_and_hash(prefix: str) -> None:
    assert names.split_hash(prefix + HASH) == (prefix, bytes.fromhex(HASH))
    assert names.family(prefix + HASH) == prefix.split("/", maxsplit=1)[0]


@pytest.mark.parametrize(
    "name", ["", HASH, f"x{HASH}", f"a/{HASH[:-1]}", f"a/{HASH.upper()}", f"a/{HASH}\n", f"a/{HASH}/"]
)
def test_a_name_without_a_hash_at_its_end_is_refused(name: str) -> None:
    with pytest.raises(Corrupt, match="does not end in a SHA-256"):
        names.split_hash(name)
