"""The record walk against pg_waldump, on WAL that real servers wrote."""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer, private_directory, run
from drtool.sources.postgres.connection import Identity
from drtool.sources.postgres.minimal import SegmentWalk
from drtool.sources.postgres.records import RM_XLOG, RecordWalk
from drtool.sources.postgres.survey import survey
from drtool.sources.postgres.wal import (
    FIRST_IS_OVERWRITE_CONTRECORD,
    PAGE_SIZE,
    format_lsn,
    parse_lsn,
    parse_page_header,
    segment_name,
)
from tests.sources.postgres.stored import SETTINGS, Wal, flush_of, now_of, system_of

MIB = 1 << 20
SEGMENT = MIB  # the smallest, so that little WAL crosses many


class Written:
    """What one server wrote, and how to walk it."""

    def __init__(self, major: int, server: PostgresServer) -> None:
        self.major = major
        self.server = server
        self.system = system_of(server)
        self.wal = Wal(SEGMENT)
        self.wal.collect(server)
        self.start = min(start for _, start in self.wal.segments)

    @property
    def identity(self) -> Identity:
        return Identity(self.system, 1, flush_of(self.server), self.major * 10000, SEGMENT)

    @property
    def segments(self) -> list[bytes]:
        return [data for _, data in sorted(self.wal.segments.items())]

    def walk(self, segments: list[bytes] | None = None, start: int | None = None) -> RecordWalk:
        return RecordWalk(
            self.segments if segments is None else segments,
            start=self.start if start is None else start,
            segment_size=SEGMENT,
            major=self.major,
            system_identifier=self.system,
        )


def dump(server: PostgresServer, start: int, end: int) -> list[int]:
    """Return the LSNs of all records from start to end, by pg_waldump, which ends with an error where WAL ends."""
    done = subprocess.run(
        [server.bin_dir / "pg_waldump", "-p", server.data / "pg_wal", "-s", format_lsn(start)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [parse_lsn(lsn) for lsn in re.findall(r" lsn: (\S+?),", done.stdout)]
    return [lsn for lsn in found if lsn < end]


def load(server: PostgresServer) -> None:
    """Write WAL of many kinds: small and large records, full pages, switches, messages."""
    bench = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"]
    password = {"PGPASSWORD": server.password, "PGDATABASE": "postgres"}  # else the one named as we are
    run([server.bin_dir / "pgbench", *bench, "-i", "-q", "-s", "1"], cwd=server.data.parent, env=password)
    run(
        [server.bin_dir / "pgbench", *bench, "-n", "-c", "2", "-t", "300"],
        cwd=server.data.parent,
        env=password,
    )
    server.sql("create table large (t text)")
    server.sql("alter table large alter t set storage external")
    server.sql("insert into large select repeat(md5(n::text), 3000) from generate_series(1, 5) n")
    server.sql("select pg_logical_emit_message(false, 'other', repeat('x', 3 * 1024 * 1024))")
    server.sql("select pg_switch_wal()")
    server.sql("select pg_logical_emit_message(true, 'drtool', %s)", '{"n": 1}')
    server.sql("select pg_logical_emit_message(true, 'drtool', 'not JSON')")
    server.sql("checkpoint")


@pytest.fixture(scope="module", params=[15, 17, 18])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    directory = private_directory("records")
    server = PostgresServer.create(request.param, directory, settings=SETTINGS, fast=True, wal_segment_mb=1)
    try:
        with server:
            load(server)
            yield Written(request.param, server)
    finally:
        shutil.rmtree(directory)


def test_the_walk_finds_the_records_that_pg_waldump_finds_and_the_end_of_the_server(written: Written) -> None:
    walk = written.walk()
    records = list(walk)
    assert [record.lsn for record in records] == dump(written.server, written.start, written.wal.flush)
    assert walk.end_lsn == written.wal.flush
    assert walk.stopped == "the range ends"
    assert len(records) > 3000


def test_a_walk_that_begins_inside_a_record_goes_on_with_the_next(written: Written) -> None:
    all_records = [record.lsn for record in written.walk()]
    for skipped in (1, 5, len(written.segments) - 2):
        start = written.start + skipped * SEGMENT
        part = [record.lsn for record in written.walk(written.segments[skipped:], start)]
        assert part == [lsn for lsn in all_records if lsn >= part[0]]
        assert part[0] - start < 4 * MIB


def test_a_walk_of_segment_after_segment_leaves_out_only_what_is_longer_than_one(written: Written) -> None:
    walk = SegmentWalk(written.identity)
    found = [
        record.lsn
        for start, data in zip(itertools.count(written.start, SEGMENT), written.segments, strict=False)
        for record in walk.records(start, data)
    ]
    crossing = [
        record
        for record in written.walk()
        if record.lsn // SEGMENT != (record.end_lsn - 1) // SEGMENT and record.rmgr != RM_XLOG
    ]
    assert any(record.lsn in found for record in crossing)
    long = {record.lsn for record in crossing if record.end_lsn - record.lsn > SEGMENT}
    assert long
    assert found == [record.lsn for record in written.walk() if record.lsn not in long]


def test_a_walk_of_segment_after_segment_says_where_the_wal_is_broken(written: Written) -> None:
    broken = bytearray(written.segments[0])
    broken[SEGMENT // 2 : SEGMENT // 2 + PAGE_SIZE] = bytes(PAGE_SIZE)
    with pytest.raises(ValueError, match="it is broken behind"):
        list(SegmentWalk(written.identity).records(written.start, bytes(broken)))


def test_a_range_inside_a_long_record_has_no_record(written: Written) -> None:
    long = next(record for record in written.walk() if record.end_lsn - record.lsn > 2 * MIB)
    first = (long.lsn - written.start) // SEGMENT + 1
    walk = written.walk(written.segments[first : first + 1], written.start + first * SEGMENT)
    assert list(walk) == []
    assert (walk.end_lsn, walk.stopped) == (None, "the range ends")


def test_a_walk_ends_before_a_record_that_is_cut_anywhere(written: Written) -> None:
    last = list(written.walk())[-3:]
    segments = written.segments
    begin = written.start + (len(segments) - 1) * SEGMENT
    for cut in range(last[0].lsn + 1, last[-1].end_lsn, 7):
        walk = written.walk([segments[-1][: cut - begin]], begin)
        list(walk)
        ends = [record.end_lsn for record in last if record.end_lsn <= cut + 7]
        assert walk.end_lsn is not None
        assert walk.end_lsn <= last[0].lsn or walk.end_lsn in ends


def test_a_switch_ends_at_the_next_segment(written: Written) -> None:
    switches = [record for record in written.walk() if record.rmgr == 0 and record.info & 0xF0 == 0x40]
    assert switches
    assert all(record.end_lsn % SEGMENT == 0 for record in switches)


@pytest.mark.parametrize("offset", [0, 3, 4, 8, 17, 20, 24, 40])
def test_a_flipped_bit_ends_the_walk_at_its_record(written: Written, offset: int) -> None:
    records = list(written.walk())
    victim = next(
        record
        for record in records[len(records) // 2 :]
        if len(record.body) > 40 and record.lsn // PAGE_SIZE == record.end_lsn // PAGE_SIZE
    )
    segments = [bytearray(segment) for segment in written.segments]
    place = victim.lsn + offset - written.start
    segments[place // SEGMENT][place % SEGMENT] ^= 1
    walk = written.walk([bytes(segment) for segment in segments])
    seen = [record.lsn for record in walk]
    assert seen == [record.lsn for record in records if record.lsn < victim.lsn]
    assert format_lsn(victim.lsn) in walk.stopped or "range" in walk.stopped


def test_a_page_of_recycled_wal_ends_the_walk(written: Written) -> None:
    first, second, *_ = written.segments
    recycled = second[: 4 * PAGE_SIZE] + first[4 * PAGE_SIZE :]
    walk = written.walk([first, recycled])
    list(walk)
    page = written.start + SEGMENT + 4 * PAGE_SIZE
    assert walk.stopped == f"the page at {format_lsn(page)} is an old one of {format_lsn(page - SEGMENT)}"
    assert walk.end_lsn is not None
    assert walk.end_lsn <= page


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [(0, 0, "magic"), (2, 0x12, "flags"), (24, 1, "another instance"), (4, 0, "timeline")],
)
def test_a_page_that_belongs_elsewhere_ends_the_walk(
    written: Written, offset: int, value: int, reason: str
) -> None:
    first, second, *_ = written.segments
    changed = bytearray(second)
    changed[offset] = value
    walk = written.walk([first, bytes(changed)])
    list(walk)
    assert reason in walk.stopped
    assert format_lsn(written.start + SEGMENT) in walk.stopped


def test_a_survey_tells_the_heartbeat_and_the_ends_of_transactions(written: Written) -> None:
    found = survey(written.walk())
    assert found.heartbeat is not None
    assert found.heartbeat.content == {"n": 1}
    assert found.newest_end is not None
    assert found.later_end is None
    now = now_of(written.server)
    assert now - timedelta(minutes=5) < found.newest_end < now
    before = survey(written.walk(), moment=found.newest_end - timedelta(microseconds=1))
    assert before.later_end == found.newest_end
    first = survey(written.walk(), moment=now - timedelta(days=1))
    assert first.heartbeat is None
    assert first.later_end is not None


def test_a_record_that_a_crash_broke_is_passed_over(written: Written) -> None:
    """The server that comes back writes XLOG_OVERWRITE_CONTRECORD where the rest of the record was to be."""
    directory = private_directory("crashed")
    major, server = (
        written.major,
        PostgresServer.create(written.major, directory, settings=SETTINGS, fast=True),
    )
    try:
        server.start()
        server.sql("select pg_switch_wal()")
        server.sql("checkpoint")
        server.sql("select pg_logical_emit_message(false, 'other', repeat('x', 100000))")
        server.sql("checkpoint")
        lsn = flush_of(server)
        server.sql("select pg_logical_emit_message(false, 'other', repeat('y', 100000))")
        server.sql("select pg_logical_emit_message(true, 'drtool', '{}')")
        server.kill()
        lose_from(server, page=lsn // PAGE_SIZE + 4)
        server.start()
        server.sql("select pg_logical_emit_message(true, 'drtool', %s)", '{"after": 1}')
        after = Wal()
        after.collect(server)
        (start, data) = max((start, data) for (_, start), data in after.segments.items())
        page = parse_page_header(data, (lsn // PAGE_SIZE + 4) * PAGE_SIZE - start)
        assert page.flags & FIRST_IS_OVERWRITE_CONTRECORD
        walk = RecordWalk(
            [data], start=start, segment_size=16 * MIB, major=major, system_identifier=system_of(server)
        )
        assert [record.lsn for record in walk] == dump(server, start, after.flush)
        assert walk.end_lsn == after.flush
    finally:
        server.kill()
        shutil.rmtree(directory)


def lose_from(server: PostgresServer, *, page: int) -> None:
    """Make the WAL what it would be had the machine lost power before it wrote page: zeros from there on."""
    size = 16 * MIB
    path = Path(server.data / "pg_wal" / segment_name(1, page * PAGE_SIZE, size))
    begin = page * PAGE_SIZE % size
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(bytes(size - begin))
        os.fsync(file.fileno())


def test_a_walk_over_segments_that_are_not_whole_is_a_mistake_of_the_caller(written: Written) -> None:
    with pytest.raises(ValueError, match="only its last segment may be short"):
        written.walk([b"short", bytes(SEGMENT)])
    with pytest.raises(ValueError, match="first byte"):
        written.walk(start=written.start + 8)
