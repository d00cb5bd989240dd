"""What counts as held WAL when strangers put objects too, and which tails tell how far it is covered."""

from datetime import UTC, datetime, timedelta

import pytest

from drtool.errors import Corrupt
from drtool.operations.coverage import Held, held_lineages, read_held
from drtool.operations.grant import wal_of
from drtool.repository.wal import WalStore
from drtool.sources.postgres.coverage import Base, Lineage, SegmentPlan, Tail, find_reach
from drtool.sources.postgres.pitr import choose_recovery, restorable_intervals
from drtool.sources.postgres.wal import format_lsn, segment_name
from tests.operations.squatting import LINEAGE, squat
from tests.repository.counting import Noting
from tests.repository.stage import Stage, make_stage, put, text

MB = 1024 * 1024
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OURS = Lineage(int(LINEAGE.system), LINEAGE.major, LINEAGE.epoch)
HISTORY = b"1\t0/300000\tno reason\n"


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def writing(stage: Stage) -> WalStore:
    return WalStore(stage.writer().records, LINEAGE)


def put_segment(stage: Stage, number: int, timeline: int = 1) -> bytes:
    plain = text(f"{timeline}/{number}", MB)
    writing(stage).put(timeline, segment_name(timeline, number * MB, MB), plain, {})
    return plain


def put_tail(stage: Stage, start: int, end: int, minute: int = 0, timeline: int = 1) -> bytes:
    plain = text(f"{timeline}/{start}", end - start)
    time = (NOW + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    facts = {"flush": format_lsn(end), "time": time, "heartbeat": None}
    writing(stage).put_tail(timeline, segment_name(timeline, start, MB), (start, end), plain, facts)
    return plain


def tail_name(start: int, end: int) -> str:
    return f"{segment_name(1, start, MB)}.{start:016X}-{end:016X}"


def held_of(stage: Stage, at: datetime | None = None) -> Held:
    return read_held(writing(stage), MB, at)


def read_segment(stage: Stage, plan: SegmentPlan) -> list[tuple[int, bytes]]:
    operator = stage.recovered()
    return read_held(WalStore(operator.records, LINEAGE), MB).read_segment(plan, operator.run_keys())


def base(start: int) -> Base:
    return Base("base", OURS, 1, start, start + 100, NOW, NOW, MB)


@pytest.mark.parametrize(
    "name",
    [
        f"wal/files/{LINEAGE.label}/00000001/{segment_name(1, 3 * MB, MB)}-x",
        f"wal/files/{LINEAGE.label}/00000001/00000001FFFFFFFFFFFFFFFF-{'ab' * 32}",
        f"wal/files/{LINEAGE.label}/00000000/000000000000000000000003-{'ab' * 32}",
        f"wal/files/{LINEAGE.label}/00000002/{segment_name(1, 3 * MB, MB)}-{'ab' * 32}",
        f"tail/files/{LINEAGE.label}/00000001/{tail_name(3 * MB, 3 * MB + 9)}-x",
        f"tail/files/{LINEAGE.label}/00000001/{tail_name(3 * MB + 9, 3 * MB)}-{'ab' * 32}",
        f"tail/files/{LINEAGE.label}/00000001/{tail_name(3 * MB, 4 * MB + 1)}-{'ab' * 32}",
        f"tail/files/{LINEAGE.label}/00000001/{segment_name(1, MB, MB)}.{0:016X}-{MB:016X}-{'ab' * 32}",
        f"tail/files/{LINEAGE.label}/00000001/00000001FFFFFFFFFFFFFFFF.{0:016X}-{9:016X}-{'ab' * 32}",
        "wal/files/abc-15-1/00000001/x",
        f"wal/files/7-18-{'9' * 30}/00000001/x",
    ],
)
def test_a_name_that_nobody_of_us_writes_changes_nothing_and_stops_nobody(stage: Stage, name: str) -> None:
    put_segment(stage, 2)
    put_tail(stage, 3 * MB, 3 * MB + 50)
    before = held_of(stage).wal
    put(stage.store, name, b"garbage")
    assert held_of(stage).wal == before
    held = held_lineages(stage.writer().records, "files", {OURS: MB}, None)
    assert held.keys() == {OURS}


def test_the_newest_wal_counts_only_when_it_is_signed(stage: Stage) -> None:
    put_segment(stage, 2)
    put_tail(stage, 3 * MB, 3 * MB + 50)
    before = held_of(stage)
    for number in range(3, 9):
        squat(stage, "wal", 1, segment_name(1, number * MB, MB))
        squat(stage, "tail", 1, tail_name(number * MB, number * MB + 900))
    squat(stage, "wal", 7, segment_name(7, 2 * MB, MB))
    squat(stage, "tail", 8, segment_name(8, 2 * MB, MB) + f".{2 * MB:016X}-{3 * MB:016X}")
    squat(stage, "wal", 9, "00000009.history")
    assert held_of(stage).wal == before.wal
    assert find_reach(base(2 * MB), held_of(stage).wal).end == 3 * MB + 50


def test_what_a_follower_stores_while_it_is_listed_leaves_no_hole(stage: Stage) -> None:
    put_segment(stage, 2)
    put_tail(stage, 3 * MB, 3 * MB + 50)
    listed: list[str] = []

    def go_on(verb: str, name: str) -> None:
        if verb == "versions" and name.startswith(("wal/", "tail/")):
            listed.append(name)
        if len(listed) == 2:
            listed.append("")
            put_segment(stage, 3)
            put_tail(stage, 4 * MB, 4 * MB + 10)

    store = Noting(stage.store, go_on)
    held = read_held(WalStore(stage.writer(store).records, LINEAGE), MB)

    assert len(listed) > 2
    assert find_reach(base(2 * MB), held.wal).faults() == ()


def test_a_history_that_was_squatted_first_hides_nothing(stage: Stage) -> None:
    squat(stage, "wal", 2, "00000002.history")
    writing(stage).put(2, "00000002.history", HISTORY, {"ancestors": [[1, "0/300000"]]})
    squat(stage, "wal", 2, "00000002.history", b"more garbage")
    [ancestor] = held_of(stage).wal.histories[2]
    assert (ancestor.timeline, ancestor.switch_lsn) == (1, 0x300000)
    operator = stage.recovered()
    held = read_held(WalStore(operator.records, LINEAGE), MB)
    assert held.read_history(2, operator.run_keys()) == HISTORY


def test_a_segment_that_was_squatted_first_is_read_as_the_writer_stored_it(stage: Stage) -> None:
    for number in range(4):
        squat(stage, "wal", 1, segment_name(1, 2 * MB, MB), b"garbage %d" % number)
    plain = put_segment(stage, 2)
    put_segment(stage, 3)
    assert read_segment(stage, SegmentPlan(1, 2 * MB, 3 * MB)) == [(2 * MB, plain)]


def test_of_two_that_a_writer_signed_the_first_received_is_read(stage: Stage) -> None:
    plain = put_segment(stage, 2)
    for number in range(4):
        writing(stage).put(1, segment_name(1, 2 * MB, MB), text(f"twin {number}", MB), {})
    assert read_segment(stage, SegmentPlan(1, 2 * MB, 3 * MB)) == [(2 * MB, plain)]


def test_tails_are_read_around_those_that_nobody_signed(stage: Stage) -> None:
    squat(stage, "tail", 1, tail_name(2 * MB, 2 * MB + 100))
    parts = [(2 * MB + at, put_tail(stage, 2 * MB + at, 2 * MB + at + 100)) for at in range(0, 300, 100)]
    squat(stage, "tail", 1, tail_name(2 * MB, 2 * MB + 250))
    for _ in range(10):
        put_tail(stage, 2 * MB + 300, 2 * MB + 300)
    reach = find_reach(base(2 * MB), held_of(stage).wal)
    assert reach.end == 2 * MB + 300
    assert read_segment(stage, reach.segments[0]) == parts


def test_tails_serve_where_the_complete_segment_is_garbage(stage: Stage) -> None:
    squat(stage, "wal", 1, segment_name(1, 2 * MB, MB))
    whole = put_tail(stage, 2 * MB, 3 * MB)
    put_segment(stage, 3)
    assert read_segment(stage, SegmentPlan(1, 2 * MB, 3 * MB)) == [(2 * MB, whole)]


def test_what_authenticates_nowhere_is_corrupt_and_named(stage: Stage) -> None:
    name = squat(stage, "wal", 1, segment_name(1, 2 * MB, MB))
    put_segment(stage, 3)
    with pytest.raises(Corrupt, match=name):
        read_segment(stage, SegmentPlan(1, 2 * MB, 3 * MB))
    with pytest.raises(Corrupt, match="has a hole at 0/200000"):
        read_segment(stage, SegmentPlan(1, 2 * MB, 2 * MB + 9, (Tail(1, 2 * MB, 2 * MB + 9),)))


def test_a_base_before_a_gap_is_covered_up_to_the_last_mark_before_it(stage: Stage) -> None:
    for number in range(2, 40):
        for half in (0, 1):
            start = number * MB + half * 1000
            put_tail(stage, start, start + 1000, minute=10 * number + half)
        if number not in (5, 20):
            put_segment(stage, number)
    squat(stage, "tail", 1, tail_name(4 * MB, 5 * MB))
    store = Noting(stage.store)
    held = read_held(WalStore(stage.writer(store).records, LINEAGE), MB, NOW)
    [early, middle, late] = restorable_intervals([base(at * MB) for at in (2, 6, 21)], {OURS: held.wal})
    assert early.end == NOW + timedelta(minutes=51)
    assert middle.end == NOW + timedelta(minutes=201)
    assert late.end == NOW + timedelta(minutes=391)
    assert len(store.of("get")) <= 24 + 5


def test_the_wal_of_a_recovery_is_complete_segments_and_tails_of_those_that_are_not(stage: Stage) -> None:
    put_segment(stage, 1)
    put_tail(stage, MB, MB + 400)  # of a segment that came whole
    put_segment(stage, 2)
    put_tail(stage, 3 * MB, 3 * MB + 400)
    put_tail(stage, 3 * MB + 400, 3 * MB + 800, 1)
    held = held_of(stage)
    choice = choose_recovery([base(MB + 100)], {OURS: held.wal}, target=None)

    found = [each.name.rpartition("/")[2][:-65] for each in wal_of(held, choice)]

    assert found == [
        *(segment_name(1, number * MB, MB) for number in (1, 2)),
        *(tail_name(3 * MB + start, 3 * MB + start + 400) for start in (0, 400)),
    ]
