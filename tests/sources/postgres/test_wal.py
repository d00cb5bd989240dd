"""Names and headers: arithmetic for every segment size, and headers that real servers wrote."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt
from drtool.sources.postgres.wal import (
    LONG_HEADER,
    PAGE_MAGIC,
    Ancestor,
    check_segment_header,
    format_lsn,
    history_name,
    is_segment_name,
    parse_history,
    parse_lsn,
    parse_segment_name,
    segment_name,
    segment_start,
)

MIB = 1 << 20
SIZES = [MIB << shift for shift in range(11)]  # 1 MiB to 1 GiB, all that initdb takes
SYSTEM = 7712155718592651732


@pytest.mark.parametrize(
    ("timeline", "lsn", "size", "name"),
    [
        (1, "0/1000000", 16 * MIB, "000000010000000000000001"),
        (1, "0/FFFFFFFF", 16 * MIB, "0000000100000000000000FF"),
        (1, "1/0", 16 * MIB, "000000010000000100000000"),
        (10, "16/B374D848", 16 * MIB, "0000000A00000016000000B3"),
        (1, "0/FFFFFFFF", MIB, "000000010000000000000FFF"),
        (1, "1/0", MIB, "000000010000000100000000"),
        (1, "0/FFFFFFFF", 1024 * MIB, "000000010000000000000003"),
        (1, "1/0", 1024 * MIB, "000000010000000100000000"),
    ],
)
def test_a_name_holds_timeline_log_and_segment_in_hex(timeline: int, lsn: str, size: int, name: str) -> None:
    assert segment_name(timeline, parse_lsn(lsn), size) == name
    assert parse_segment_name(name, size) == (timeline, segment_start(parse_lsn(lsn), size))


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1), st.sampled_from(SIZES))
def test_names_and_lsns_come_back_as_they_were(timeline: int, lsn: int, size: int) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn
    start = segment_start(lsn, size)
    assert parse_segment_name(segment_name(timeline, lsn, size), size) == (timeline, start)
    assert start <= lsn < start + size


@given(st.integers(0, 2**32), st.sampled_from(SIZES))
def test_names_of_a_timeline_sort_as_their_segments(number: int, size: int) -> None:
    assert segment_name(1, number * size, size) < segment_name(1, (number + 1) * size, size)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "00000001000000000000000",
        "000000010000000000000100",
        "00000000000000000000000A",
        "../00000001",
        "00000001000000000000000a",
        "000000010000000000000001.partial",
        "000000010000000000000001\n",
    ],
)
def test_what_is_no_segment_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="WAL segment"):
        parse_segment_name(name, 16 * MIB)


@pytest.mark.parametrize("text", ["", "0", "0/", "0/100000000", "1/2/3", "x/1", "-1/1"])
def test_what_is_no_lsn_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="LSN"):
        parse_lsn(text)


def test_a_history_file_gives_the_ancestors() -> None:
    content = b"1\t0/5000158\tno recovery target specified\n\n# by hand\n2\t0/6000000\tbefore 2026-01-01\n"
    assert parse_history(11, content) == (
        Ancestor(1, 0x5000158, "no recovery target specified"),
        Ancestor(2, 0x6000000, "before 2026-01-01"),
    )
    assert history_name(11) == "0000000B.history"


@pytest.mark.parametrize(
    "content", [b"", b"what\n", b"2\t0/1\tx\n1\t0/2\ty\n", b"3\t0/1\tx\n", b"1\t0/1\n1\t0/2\n"]
)
def test_a_history_file_that_leads_nowhere_is_corrupt(content: bytes) -> None:
    with pytest.raises(Corrupt, match=r"00000003\.history"):
        parse_history(3, content)


def header(**changed: int) -> bytes:
    fields = {"magic": PAGE_MAGIC[18], "flags": 2, "timeline": 2, "address": 5 << 24, "remaining": 0}
    fields |= {"system": SYSTEM, "segment_size": 16 * MIB, "page_size": 8192}
    return LONG_HEADER.pack(*(fields | changed).values())


def check(data: bytes, major: int = 18) -> None:
    check_segment_header(
        data, major=major, system_identifier=SYSTEM, timeline=2, start=5 << 24, segment_size=16 * MIB
    )


def test_the_header_that_belongs_there_passes_also_with_an_older_timeline() -> None:
    check(header())
    check(header(timeline=1))
    assert is_segment_name(segment_name(2, 5 << 24, 16 * MIB))


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (bytes(8192), "page magic 0x0000"),
        (b"", "no page header"),
        (header()[:30], "no page header"),
        (header(magic=PAGE_MAGIC[17]), "page magic"),
        (header(flags=0), "long header"),
        (header(system=1), "system identifier 1"),
        (header(address=6 << 24), "address 0/6000000"),
        (header(segment_size=MIB), "segment size"),
        (header(page_size=4096), "page size"),
        (header(timeline=3), "timeline 3"),
        (header(timeline=0), "timeline 0"),
    ],
)
def test_a_header_that_belongs_elsewhere_is_corrupt_and_named(data: bytes, field: str) -> None:
    with pytest.raises(Corrupt, match=f"000000020000000000000005 has .*{field}"):
        check(data)


def test_a_major_whose_pages_are_not_known_is_refused() -> None:
    with pytest.raises(Corrupt, match="PostgreSQL 14"):
        check(header(), major=14)


def test_the_structs_have_the_sizes_of_postgresql() -> None:
    assert LONG_HEADER.size == 40
    assert struct.calcsize("<HHIQI4x") == 24
