"""The receiver on real servers: WAL arrives whole and in order, and only what is durable is acknowledged."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.errors import Corrupt, Refused, SourceUnavailable, StoreUnavailable, TemporaryFailure
from drtool.sources.postgres import wal_stream
from drtool.sources.postgres.connection import Replication
from drtool.sources.postgres.faults import WalGone
from drtool.sources.postgres.hearing import EPOCH
from drtool.sources.postgres.receiver import Received, Receiver, Start
from drtool.sources.postgres.slot import inspect_slot, make_slot
from drtool.sources.postgres.wal import history_name, parse_history, parse_lsn, segment_name, segment_start
from drtool.sources.postgres.wal_stream import WalStream
from tests.sources.postgres.standins import (
    MemorySink,
    NewServer,
    eventually,
    in_background,
    standby_of,
    start_of,
)

SLOT = "drtool_test_postgres"
MIB = 1 << 20


@pytest.fixture
def small(new_server: NewServer) -> PostgresServer:
    """A running server of the newest major with segments of 1 MiB and a slot."""
    server = new_server()
    server.start()
    make_slot(server.settings, SLOT)
    return server


@pytest.fixture
def sink() -> Iterator[MemorySink]:
    sink = MemorySink()
    yield sink
    sink.gate.set()


def write(server: PostgresServer, mebibytes: int) -> None:
    """Write so many MiB of WAL, committed."""
    server.sql("create table if not exists written (x text)")
    server.sql(
        "insert into written select repeat(chr(65 + mod(n, 26)), 1000) from generate_series(1, %s) n",
        mebibytes * 950,
    )


def catch_up(server: PostgresServer, sink: MemorySink, start: Start | None = None) -> Received:
    return Receiver(server.settings, SLOT, start or start_of(server), sink).catch_up()


def assert_equals_pg_wal(sink: MemorySink, server: PostgresServer, segment_size: int) -> None:
    """Compare each byte with the server's own files."""
    for (timeline, start), data in sink.segments.items():
        path = server.data / "pg_wal" / segment_name(timeline, start, segment_size)
        assert path.read_bytes() == data, path.name
    for timeline, (begin, end), data in sink.tails:
        start = segment_start(begin, segment_size)
        path = server.data / "pg_wal" / segment_name(timeline, start, segment_size)
        if path.exists():  # the last segment of an older timeline is removed
            assert path.read_bytes()[begin - start : end - start] == data, path.name


def restart_lsn(server: PostgresServer) -> int:
    slot = inspect_slot(server.settings, SLOT)
    assert slot is not None
    assert slot.restart_lsn is not None
    return slot.restart_lsn


def receiving(server: PostgresServer) -> list[tuple[object, ...]]:
    return server.sql("select pid, flush_lsn from pg_stat_replication where application_name = 'drtool'")


@pytest.mark.parametrize(("major", "segment_mb"), [(15, 1), (17, 16), (18, 1), (18, 64)])
def test_catch_up_fetches_what_the_server_has_byte_for_byte(
    new_server: NewServer, sink: MemorySink, major: int, segment_mb: int
) -> None:
    server = new_server(major, segment_mb)
    server.start()
    make_slot(server.settings, SLOT)
    start = start_of(server)
    write(server, 2 * segment_mb if segment_mb < 64 else 1)
    flushed = parse_lsn(server.sql("select pg_current_wal_flush_lsn()::text")[0][0])

    received = catch_up(server, sink, start)

    size = segment_mb * MIB
    assert_equals_pg_wal(sink, server, size)
    assert sorted(sink.segments) == [
        (1, lsn) for lsn in range(start.lsn, received.lsn - received.lsn % size, size)
    ]
    assert received.lsn >= flushed
    assert sink.tails[-1][1] == (segment_start(received.lsn, size), received.lsn)
    assert sink.states[-1].flush_lsn >= received.lsn
    assert abs(sink.states[-1].time - server.sql("select clock_timestamp()")[0][0]).total_seconds() < 10
    eventually(lambda: restart_lsn(server) == received.lsn)


def test_an_idle_server_ends_catch_up_at_once_with_a_mark(small: PostgresServer, sink: MemorySink) -> None:
    first = catch_up(small, sink)
    sink.tailed_to[1, segment_start(first.lsn, MIB)] = first.lsn
    begun = time.monotonic()
    again = catch_up(small, sink)
    assert time.monotonic() - begun < 1
    assert again.lsn == first.lsn
    assert sink.tails[-1] == (1, (first.lsn, first.lsn), b"")


def test_a_later_tail_holds_only_what_came_since(small: PostgresServer, sink: MemorySink) -> None:
    first = catch_up(small, sink)
    sink.tailed_to[1, segment_start(first.lsn, MIB)] = first.lsn
    small.sql("select pg_logical_emit_message(true, 'x', 'y')")
    second = catch_up(small, sink)
    assert sink.tails[-1][1] == (first.lsn, second.lsn)
    assert_equals_pg_wal(sink, small, MIB)


def test_nothing_is_acknowledged_before_the_sink_returns(small: PostgresServer, sink: MemorySink) -> None:
    before = restart_lsn(small)
    start = start_of(small)
    sink.gate.clear()
    write(small, 3)
    run = in_background(lambda: catch_up(small, sink, start))
    assert sink.stalled.wait(10)
    pid = receiving(small)[0][0]
    time.sleep(3)  # longer than wal_sender_timeout, which is 2 s: statuses must have been sent
    assert receiving(small) == [(pid, None)]
    assert restart_lsn(small) == before
    sink.gate.set()
    received = run.result(30)
    eventually(lambda: restart_lsn(small) == received.lsn)
    assert_equals_pg_wal(sink, small, MIB)


def test_a_stalled_sink_holds_up_reading_but_not_the_answers(
    small: PostgresServer, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_stream, "BUFFER_LIMIT", 256 * 1024)
    start = start_of(small)
    sink.gate.clear()
    write(small, 20)
    run = in_background(lambda: catch_up(small, sink, start))
    assert sink.stalled.wait(10)
    pid = receiving(small)[0][0]
    time.sleep(3)  # longer than wal_sender_timeout
    assert [row[0] for row in receiving(small)] == [pid]
    sink.gate.set()
    run.result(30)
    assert len(sink.segments) >= 20
    assert_equals_pg_wal(sink, small, MIB)


def test_a_sink_that_fails_leaves_the_slot_where_it_was(small: PostgresServer, sink: MemorySink) -> None:
    before, start = restart_lsn(small), start_of(small)
    write(small, 2)
    sink.failure = StoreUnavailable("the store is away")
    with pytest.raises(StoreUnavailable):
        catch_up(small, sink, start)
    assert restart_lsn(small) == before
    sink.failure = None
    eventually(lambda: not receiving(small))
    catch_up(small, sink, start)
    assert_equals_pg_wal(sink, small, MIB)


def test_a_killed_server_ends_the_run_and_the_next_one_goes_on(
    small: PostgresServer, sink: MemorySink
) -> None:
    start = start_of(small)
    run = in_background(lambda: Receiver(small.settings, SLOT, start, sink).follow(0.2, lambda: False))
    write(small, 2)
    eventually(lambda: len(sink.segments) >= 2)
    small.kill()
    with pytest.raises(SourceUnavailable, match="ended the connection"):
        run.result(30)
    small.start()
    newest = max(lsn for _, lsn in sink.segments) + MIB
    received = catch_up(small, sink, Start(start.system_identifier, 1, newest))
    assert_equals_pg_wal(sink, small, MIB)
    assert received.lsn >= newest


def test_following_leaves_tails_and_marks_in_time_until_it_is_told_to_stop(
    small: PostgresServer, sink: MemorySink
) -> None:
    start = start_of(small)
    stopping: list[bool] = []
    run = in_background(
        lambda: Receiver(small.settings, SLOT, start, sink).follow(0.1, lambda: bool(stopping))
    )
    small.sql("select pg_logical_emit_message(true, 'x', 'y')")
    written = parse_lsn(small.sql("select pg_current_wal_flush_lsn()::text")[0][0])
    eventually(lambda: sink.tails and sink.tails[-1][1][1] >= written)
    count = len(sink.tails)
    eventually(lambda: len(sink.tails) > count + 2)
    eventually(lambda: restart_lsn(small) >= written)
    stopping.append(True)
    assert run.result(10).lsn >= written


def test_a_server_that_stops_is_not_held_up_by_a_follower(small: PostgresServer, sink: MemorySink) -> None:
    start = start_of(small)
    run = in_background(lambda: Receiver(small.settings, SLOT, start, sink).follow(3600, lambda: False))
    eventually(lambda: receiving(small))
    write(small, 1)
    begun = time.monotonic()
    small.stop("fast")
    assert time.monotonic() - begun < 10
    with pytest.raises(SourceUnavailable, match="ended the"):
        run.result(10)
    assert_equals_pg_wal(sink, small, MIB)


def test_a_server_that_stops_is_not_held_up_by_a_dead_store(
    new_server: NewServer, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_stream, "ANSWER_LIMIT_S", 1.0)
    small = new_server(wal_sender_timeout="60s")
    small.start()
    make_slot(small.settings, SLOT)
    start = start_of(small)
    run = in_background(lambda: Receiver(small.settings, SLOT, start, sink).follow(3600, lambda: False))
    write(small, 2)
    eventually(lambda: restart_lsn(small) > start.lsn)
    sink.gate.clear()
    write(small, 2)
    assert sink.stalled.wait(10)
    begun = time.monotonic()
    small.stop("fast")
    assert time.monotonic() - begun < 10
    sink.gate.set()
    with pytest.raises(TemporaryFailure, match="could not be made durable"):
        run.result(10)


@pytest.fixture(params=[15, 18], ids=lambda major: f"postgresql-{major}")
def pair(
    request: pytest.FixtureRequest, new_server: NewServer, new_directory: Callable[[], Path]
) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its standby; the standby has the slot."""
    primary = new_server(request.param)
    primary.start()
    standby = standby_of(primary, new_directory())
    make_slot(standby.settings, SLOT)
    yield primary, standby
    standby.kill()


def test_a_promotion_before_the_run_is_followed_with_its_history_first(
    pair: tuple[PostgresServer, PostgresServer], sink: MemorySink
) -> None:
    primary, standby = pair
    start = start_of(standby)
    write(primary, 2)
    written = primary.sql("select pg_current_wal_flush_lsn()::text")[0][0]
    eventually(lambda: standby.sql("select pg_last_wal_replay_lsn() >= %s::pg_lsn", written)[0][0])
    primary.kill()
    standby.sql("select pg_promote()")
    write(standby, 2)
    received = Receiver(standby.settings, SLOT, start, sink).catch_up()
    assert received.timeline == 2
    assert_promotion_is_whole(sink, standby)


def test_a_server_that_lacks_the_history_of_an_older_timeline_is_received_from(
    small: PostgresServer, sink: MemorySink
) -> None:
    """A restored server has those of the timelines that its replay needed, and no older ones."""
    for _ in range(2):
        small.stop()
        (small.data / "standby.signal").touch()
        small.start()
        small.sql("select pg_promote()")
        write(small, 1)
    (small.data / "pg_wal" / history_name(2)).unlink()

    received = catch_up(small, sink)

    assert received.timeline == 3
    assert sink.histories.keys() == {3}
    assert_equals_pg_wal(sink, small, MIB)


def test_a_promotion_during_the_run_is_followed_with_its_history_first(
    pair: tuple[PostgresServer, PostgresServer], sink: MemorySink
) -> None:
    primary, standby = pair
    stopping: list[bool] = []
    receiver = Receiver(standby.settings, SLOT, start_of(standby), sink)
    run = in_background(lambda: receiver.follow(0.2, lambda: bool(stopping)))
    write(primary, 2)
    written = parse_lsn(primary.sql("select pg_current_wal_flush_lsn()::text")[0][0])
    eventually(lambda: sink.tails and sink.tails[-1][1][1] >= written)
    primary.kill()
    standby.sql("select pg_promote()")
    write(standby, 2)
    promoted = parse_lsn(standby.sql("select pg_current_wal_flush_lsn()::text")[0][0])
    eventually(lambda: sink.tails[-1][1][1] >= promoted)
    stopping.append(True)
    assert run.result(10).timeline == 2
    assert_promotion_is_whole(sink, standby)


def assert_promotion_is_whole(sink: MemorySink, standby: PostgresServer) -> None:
    assert next(call for call in sink.calls if call.endswith(" 2")) == "history 2"
    assert sink.histories == {2: (standby.data / "pg_wal" / history_name(2)).read_bytes()}
    assert {timeline for timeline, _ in sink.segments} == {1, 2}
    times = {timeline: state.time for (timeline, *_), state in zip(sink.tails, sink.states, strict=True)}
    assert times[1] == EPOCH, "the end of a timeline that was left tells nothing of what was committed since"
    assert times[2] > EPOCH
    assert_equals_pg_wal(sink, standby, MIB)


def test_a_promotion_between_two_segments_is_followed(
    pair: tuple[PostgresServer, PostgresServer], sink: MemorySink
) -> None:
    """Nothing is left to stream of the old timeline where the last run has ended."""
    primary, standby = pair
    identity = start_of(standby)
    write(primary, 1)
    primary.sql("select pg_switch_wal()")
    switched = primary.sql("select pg_current_wal_lsn()::text")[0][0]
    eventually(lambda: standby.sql("select pg_last_wal_replay_lsn() >= %s::pg_lsn", switched)[0][0])
    primary.kill()
    standby.sql("select pg_promote()")
    (ancestor,) = parse_history(2, (standby.data / "pg_wal" / history_name(2)).read_bytes())
    with Replication(standby.settings) as replication:
        with WalStream(replication, slot=SLOT, lsn=ancestor.switch_lsn, timeline=1) as stream:
            assert stream.take(1) is None
            assert stream.ended
            assert stream.next_timeline == (2, ancestor.switch_lsn)
            stream.finish()
        assert replication.timeline_history(2)
    if ancestor.switch_lsn % MIB == 0:  # unless a checkpoint came between the switch and the end
        start = Start(identity.system_identifier, 1, ancestor.switch_lsn)
        received = Receiver(standby.settings, SLOT, start, sink).catch_up()
        assert received.timeline == 2
        assert_equals_pg_wal(sink, standby, MIB)


def test_a_stream_that_does_not_begin_keeps_nothing_open(small: PostgresServer) -> None:
    start = start_of(small)
    with Replication(small.settings) as replication:
        before = len(list(Path("/proc/self/fd").iterdir()))
        stream = WalStream(replication, slot="drtool_nobody", lsn=start.lsn, timeline=1)
        with pytest.raises(SourceUnavailable, match="does not exist"):
            stream.__enter__()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_whatever_fails_in_the_thread_of_the_socket_is_raised(
    small: PostgresServer, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_stream, "BUFFER_LIMIT", None)
    start = start_of(small)
    write(small, 1)
    run = in_background(lambda: catch_up(small, sink, start))
    with pytest.raises(TypeError):
        run.result(20)


def test_an_old_primary_is_refused(small: PostgresServer, sink: MemorySink) -> None:
    start = start_of(small)
    with pytest.raises(Refused, match="is on timeline 1, and timeline 2 was received"):
        catch_up(small, sink, Start(start.system_identifier, 2, start.lsn))


def test_another_instance_is_refused(small: PostgresServer, sink: MemorySink) -> None:
    start = start_of(small)
    with pytest.raises(Refused, match="another PostgreSQL"):
        catch_up(small, sink, Start(start.system_identifier + 1, 1, start.lsn))


def test_a_start_inside_a_segment_is_refused(small: PostgresServer, sink: MemorySink) -> None:
    start = start_of(small)
    with pytest.raises(Refused, match="no segment begins there"):
        catch_up(small, sink, Start(start.system_identifier, 1, start.lsn + 8192))


def test_wal_that_the_server_does_not_have_yet_is_an_error_of_its_own(
    small: PostgresServer, sink: MemorySink
) -> None:
    start = start_of(small)
    with pytest.raises(SourceUnavailable, match="ahead of the WAL flush position"):
        catch_up(small, sink, Start(start.system_identifier, 1, start.lsn + 64 * MIB))


def test_a_slot_in_use_is_a_reason_to_wait(small: PostgresServer, sink: MemorySink) -> None:
    stopping: list[bool] = []
    start = start_of(small)
    run = in_background(
        lambda: Receiver(small.settings, SLOT, start, MemorySink()).follow(1, lambda: bool(stopping))
    )
    eventually(lambda: receiving(small))
    with pytest.raises(TemporaryFailure, match="active for PID"):
        catch_up(small, sink)
    stopping.append(True)
    run.result(10)


def test_a_slot_that_is_missing_is_said(small: PostgresServer, sink: MemorySink) -> None:
    receiver = Receiver(small.settings, "drtool_nobody", start_of(small), sink)
    with pytest.raises(SourceUnavailable, match=r'"drtool_nobody" does not exist'):
        receiver.catch_up()


@pytest.mark.parametrize("major", [15, 17, 18])
def test_a_lost_slot_is_a_gap(new_server: NewServer, sink: MemorySink, major: int) -> None:
    server = new_server(
        major, max_slot_wal_keep_size="2MB", wal_keep_size=0, max_wal_size="4MB", min_wal_size="2MB"
    )
    server.start()
    make_slot(server.settings, SLOT)
    start = start_of(server)
    for _ in range(6):
        write(server, 4)
        server.sql("checkpoint")
    slot = inspect_slot(server.settings, SLOT)
    assert slot is not None
    assert slot.is_lost
    with pytest.raises(WalGone) as gone:
        catch_up(server, sink, start)
    assert "base backup" in gone.value.hint


def test_a_segment_with_a_foreign_header_never_reaches_the_sink(
    small: PostgresServer, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_of(small)
    write(small, 2)
    path = small.data / "pg_wal" / segment_name(1, start.lsn, MIB)
    small.stop()
    content = bytearray(path.read_bytes())
    content[24] ^= 0xFF  # the system identifier in the long header
    path.write_bytes(content)
    small.start()
    with pytest.raises(Corrupt, match="system identifier"):
        catch_up(small, sink, start)
    assert not sink.calls


def test_a_store_that_stays_away_lets_the_server_go(
    small: PostgresServer, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_stream, "BUFFER_LIMIT", 256 * 1024)
    monkeypatch.setattr(wal_stream, "STALL_LIMIT_S", 0.5)
    start = start_of(small)
    sink.gate.clear()
    write(small, 3)
    run = in_background(lambda: catch_up(small, sink, start))
    assert sink.stalled.wait(10)
    eventually(lambda: not receiving(small))
    sink.gate.set()
    with pytest.raises(TemporaryFailure, match="could not be made durable"):
        run.result(10)


def test_a_server_that_hangs_does_not_keep_who_wants_to_end(
    small: PostgresServer, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_stream, "ANSWER_LIMIT_S", 1.0)
    stopping: list[bool] = []
    start = start_of(small)
    run = in_background(
        lambda: Receiver(small.settings, SLOT, start, sink).follow(0.1, lambda: bool(stopping))
    )
    eventually(lambda: len(sink.tails) > 1)
    [(pid, _)] = receiving(small)
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGSTOP)
    try:
        stopping.append(True)
        with pytest.raises(TemporaryFailure, match="did not end the stream"):
            run.result(10)
    finally:
        os.kill(pid, signal.SIGCONT)
