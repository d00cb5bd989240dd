"""Where receiving goes on, and what the sink keeps, on a repository in memory."""

from datetime import UTC, datetime

import pytest

from drtool.operations.coverage import Held, read_held
from drtool.operations.receive import StoreSink, next_start
from drtool.repository.wal import FOLD_AFTER, Lineage, WalStore
from drtool.sources.postgres.coverage import Mark
from drtool.sources.postgres.slot import Beat
from drtool.sources.postgres.wal import segment_name
from drtool.sources.postgres.wal_stream import ServerState
from tests.operations.squatting import squat
from tests.repository.stage import Stage, make_stage, text

MB = 1024 * 1024
LINEAGE = Lineage("files", "7000000000000000000", 18, 1)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
STATE = ServerState(5 * MB + 100, NOW)


@pytest.fixture
def stage() -> Stage:
    return make_stage()


@pytest.fixture
def store(stage: Stage) -> WalStore:
    return WalStore(stage.writer().records, LINEAGE)


def sink_of(store: WalStore) -> StoreSink:
    return StoreSink(store, MB, Beat(5 * MB + 40, NOW))


def held_of(store: WalStore) -> Held:
    return read_held(store, MB)


@pytest.mark.parametrize(
    ("complete", "tails", "oldest", "expected"),
    [
        ([], [], 3 * MB + 7, (4, 3 * MB)),
        ([(1, 2), (1, 3)], [], 3 * MB + 7, (1, 4 * MB)),
        ([(1, 2), (1, 4)], [], 2 * MB, (1, 3 * MB)),
        ([(1, 2), (1, 4)], [], 4 * MB, (1, 5 * MB)),
        ([(1, 2), (2, 3)], [], 2 * MB, (2, 4 * MB)),
        ([], [(1, 5 * MB, 5 * MB + 10)], 5 * MB, (1, 5 * MB)),
        ([], [(1, 5 * MB, 5 * MB + 10)], 9 * MB, (1, 5 * MB)),
        ([(1, 2)], [(1, 7 * MB, 7 * MB + 10)], 7 * MB, (1, 7 * MB)),
        ([(1, 2), (1, 3)], [(1, 2 * MB, 2 * MB + 10)], 2 * MB, (1, 4 * MB)),
    ],
)
def test_receiving_goes_on_at_the_first_hole_that_the_server_can_fill(
    store: WalStore,
    complete: list[tuple[int, int]],
    tails: list[tuple[int, int, int]],
    oldest: int,
    expected: tuple[int, int],
) -> None:
    sink = sink_of(store)
    for timeline, number in complete:
        sink.segment(timeline, number * MB, bytes(100))
    for timeline, start, end in tails:
        sink.tail(timeline, (start, end), bytes(end - start), STATE)
    assert next_start(held_of(store), 4, oldest) == expected


def test_a_segment_that_is_stored_already_is_not_sent_again(stage: Stage, store: WalStore) -> None:
    sink_of(store).segment(1, 2 * MB, b"the same bytes")
    before = [found.name for found in stage.store.list("wal/")]
    sink_of(store).segment(1, 2 * MB, b"the same bytes")
    assert [found.name for found in stage.store.list("wal/")] == before


def test_the_next_tail_begins_where_the_last_one_ended_also_for_the_next_process(store: WalStore) -> None:
    sink = sink_of(store)
    assert sink.tail_begin(1, 5 * MB) == 5 * MB
    sink.tail(1, (5 * MB, 5 * MB + 100), bytes(100), STATE)
    assert sink.tail_begin(1, 5 * MB) == 5 * MB + 100
    assert sink_of(store).tail_begin(1, 5 * MB) == 5 * MB + 100


def test_too_many_tails_are_folded_into_one_from_the_segments_first_byte(store: WalStore) -> None:
    sink = sink_of(store)
    for number in range(FOLD_AFTER):
        begin = sink.tail_begin(1, 5 * MB)
        assert begin == 5 * MB + number * 600
        sink.tail(1, (begin, begin + 600), text(f"{number}", 600), STATE)
    assert sink.tail_begin(1, 5 * MB) == 5 * MB
    end = 5 * MB + FOLD_AFTER * 600
    sink.tail(1, (5 * MB, end), text("all", FOLD_AFTER * 600), STATE)
    assert sink.tail_begin(1, 5 * MB) == end
    assert sink_of(store).tail_begin(1, 5 * MB) == end


def test_an_idle_server_has_its_segment_stored_once_however_many_marks_it_leaves(store: WalStore) -> None:
    sink = sink_of(store)
    sink.tail(1, (5 * MB, 5 * MB + 100), bytes(100), STATE)
    for _ in range(FOLD_AFTER + 1):
        begin = sink.tail_begin(1, 5 * MB)
        assert begin == 5 * MB + 100
        sink.tail(1, (begin, begin), b"", STATE)
    assert sink_of(store).tail_begin(1, 5 * MB) == 5 * MB + 100


def test_tails_that_take_more_than_twice_what_one_would_are_folded(store: WalStore) -> None:
    sink = sink_of(store)
    folded = []
    for number in range(20):
        begin = sink.tail_begin(1, 5 * MB)
        folded.append(begin == 5 * MB)
        sink.tail(1, (begin, 5 * MB + number + 1), bytes(5 * MB + number + 1 - begin), STATE)
    assert 2 < sum(folded) < 8
    assert sink_of(store).tail_begin(1, 5 * MB) in (5 * MB, 5 * MB + 20)


def test_a_tail_that_nobody_signed_is_not_taken_for_durable(stage: Stage, store: WalStore) -> None:
    sink_of(store).tail(1, (5 * MB, 5 * MB + 100), bytes(100), STATE)
    squat(stage, "tail", 1, f"{segment_name(1, 5 * MB, MB)}.{5 * MB:016X}-{6 * MB:016X}")
    squat(stage, "tail", 1, f"{segment_name(1, 5 * MB, MB)}.{5 * MB + 100:016X}-{5 * MB + 200:016X}")
    assert sink_of(store).tail_begin(1, 5 * MB) == 5 * MB + 100


def test_receiving_goes_on_before_the_first_segment_that_nobody_signed(stage: Stage, store: WalStore) -> None:
    sink = sink_of(store)
    for number in (2, 3, 6):
        sink.segment(1, number * MB, bytes(MB))
    for number in (4, 5, 7, 8):
        squat(stage, "wal", 1, segment_name(1, number * MB, MB))
    squat(stage, "wal", 9, segment_name(9, 2 * MB, MB))
    assert next_start(held_of(store), 1, 2 * MB) == (1, 4 * MB)
    assert next_start(held_of(store), 1, 6 * MB) == (1, 7 * MB)


def test_a_mark_tells_what_the_server_said_and_stores_no_bytes_of_wal(store: WalStore) -> None:
    sink_of(store).tail(1, (5 * MB + 100, 5 * MB + 100), b"", STATE)
    held = held_of(store)
    assert held.wal.tails == []
    assert held.wal.marks == [Mark(NOW, 1, 5 * MB + 100, 5 * MB + 40, NOW)]


def test_a_history_file_keeps_its_ancestors_for_who_holds_only_the_list_key(
    stage: Stage, store: WalStore
) -> None:
    sink_of(store).history(2, b"1\t0/5000100\tno recovery target specified\n")
    [ancestor] = held_of(store).wal.histories[2]
    assert (ancestor.timeline, ancestor.switch_lsn) == (1, 5 * 16 * MB + 0x100)
    operator = stage.recovered()
    held = read_held(WalStore(operator.records, LINEAGE), MB)
    plain = held.read_history(2, operator.run_keys())
    assert plain.startswith(b"1\t0/5000100")


def test_a_sink_tells_wal_from_what_is_stored_of_it(stage: Stage, store: WalStore) -> None:
    sink = sink_of(store)
    sink.segment(1, 2 * MB, bytes(MB))
    sink.tail(1, (3 * MB, 3 * MB + 100), bytes(100), STATE)
    stored = sum(found.size for kind in ("wal/", "tail/") for found in stage.store.list(kind))
    assert (sink.kept.received, sink.kept.stored) == (MB + 100, stored)
    assert stored < MB / 10
