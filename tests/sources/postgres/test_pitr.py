"""Which base, which path, which WAL: tables over lineages drawn by hand. Segments are S bytes, numbered from 0."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from drtool.errors import NoRecoveryPoint, UsageError
from drtool.sources.postgres.branches import left_behind
from drtool.sources.postgres.coverage import (
    Base,
    Lineage,
    Mark,
    StoredWal,
    Tail,
    find_reach,
)
from drtool.sources.postgres.pitr import choose_recovery, decide_stop, restorable_intervals
from drtool.sources.postgres.wal import Ancestor

S = 16 << 20
LINEAGE = Lineage(7, 18, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def minute(count: float) -> datetime:
    return NOON + timedelta(minutes=count)


def base(start: float, end: float, *, at: float = 0, timeline: int = 1, **more: object) -> Base:
    """A base from start to end, in segments, that ended at minutes after noon."""
    made = Base(f"b{at:g}", LINEAGE, timeline, int(start * S), int(end * S), minute(at - 1), minute(at), S)
    return replace(made, **more)  # type: ignore[arg-type]


def whole(timeline: int, numbers: Iterable[int]) -> frozenset[tuple[int, int]]:
    return frozenset((timeline, number * S) for number in numbers)


def tail(timeline: int, start: float, end: float) -> Tail:
    return Tail(timeline, int(start * S), int(end * S))


def mark(at: float, lsn: float, *, timeline: int = 1, beat: float | None = None) -> Mark:
    """A mark at minutes after noon, at an LSN in segments; beat is the heartbeat's LSN, half a minute before."""
    if beat is None:
        return Mark(minute(at), timeline, int(lsn * S))
    return Mark(minute(at), timeline, int(lsn * S), int(beat * S), minute(at - 0.5))


FORK = {2: (Ancestor(1, int(3.5 * S), "failover"),)}


@pytest.mark.parametrize(
    ("wal", "end", "pieces"),
    [
        (StoredWal(S, whole(1, [1, 2, 3])), 4, [(1, 1), (1, 2), (1, 3)]),
        (StoredWal(S, whole(1, [1, 2]), [tail(1, 3, 3.25)]), 3.25, [(1, 1), (1, 2), (1, 3)]),
        (StoredWal(S, whole(1, [1, 2]), [tail(1, 3.1, 3.25)]), 3, [(1, 1), (1, 2)]),
        (StoredWal(S, whole(1, [1, 2, 4])), 3, [(1, 1), (1, 2)]),
        (StoredWal(S, whole(1, [2, 3])), 1, []),
        (StoredWal(S, whole(1, [1, 2, 3, 4]), histories=FORK), 3.5, [(1, 1), (1, 2), (1, 3)]),
        (
            StoredWal(S, whole(1, [1, 2, 3]) | whole(2, [3, 4]), histories=FORK),
            5,
            [(1, 1), (1, 2), (2, 3), (2, 4)],
        ),
        (
            StoredWal(S, whole(1, [1, 2]) | whole(2, [3, 4]), histories=FORK),
            5,
            [(1, 1), (1, 2), (2, 3), (2, 4)],
        ),
        (StoredWal(S, whole(1, [1, 2, 3]) | whole(2, [4]), histories=FORK), 3.5, [(1, 1), (1, 2), (1, 3)]),
        (
            StoredWal(S, whole(1, [1, 2, 3]), [tail(2, 3, 3.2)], FORK),
            3.5,
            [(1, 1), (1, 2), (1, 3)],
        ),
        (StoredWal(S, whole(1, [1, 2, 3]) | whole(2, [3])), 4, [(1, 1), (1, 2), (1, 3)]),
    ],
    ids=[
        "complete segments",
        "a tail at the end",
        "a tail that does not begin with its segment",
        "a hole",
        "nothing at the base's start",
        "the old timeline went on after the fork: its end is lost",
        "the new timeline's copy of the shared segment is taken",
        "the shared segment is there on the new timeline only",
        "the new timeline's first segment is missing",
        "the new timeline's tail is shorter than the old one's rest",
        "a timeline without its history is not taken",
    ],
)
def test_the_reach_is_contiguous_on_the_path(
    wal: StoredWal, end: float, pieces: list[tuple[int, int]]
) -> None:
    reach = find_reach(base(1.1, 1.2), wal)
    assert reach.end == int(end * S)
    assert [(plan.timeline, plan.start // S) for plan in reach.segments] == pieces
    assert all(plan.until == plan.start + S for plan in reach.segments[:-1])


@pytest.mark.parametrize(
    ("tails", "chosen"),
    [
        ([(1, 1.3), (1.3, 1.6)], [(1, 1.3), (1.3, 1.6)]),
        ([(1, 1.3), (1, 1.6)], [(1, 1.6)]),
        ([(1, 1.3), (1.2, 1.5), (1.1, 1.4)], [(1, 1.3), (1.2, 1.5)]),
        ([(1, 1.3), (1.4, 1.9)], [(1, 1.3)]),
    ],
    ids=["a chain", "a folded one", "overlaps", "a hole"],
)
def test_the_longest_chain_of_tails_wins(
    tails: list[tuple[float, float]], chosen: list[tuple[float, float]]
) -> None:
    reach = find_reach(base(1.05, 1.1), StoredWal(S, tails=[tail(1, *each) for each in tails]))
    assert reach.segments[0].tails == tuple(tail(1, *each) for each in chosen)
    assert reach.end == int(chosen[-1][1] * S)


def test_a_complete_segment_beats_its_tails() -> None:
    reach = find_reach(base(1.1, 1.2), StoredWal(S, whole(1, [1]), [tail(1, 1, 1.9)]))
    assert reach.segments[0].tails == ()


def test_a_base_on_a_branch_that_was_left_before_it_ended_stays_on_it() -> None:
    wal = StoredWal(S, whole(1, [4, 5]) | whole(2, [3, 4, 5]), histories=FORK)
    reach = find_reach(base(4.1, 4.2), wal)
    assert (reach.timeline, reach.end) == (1, 6 * S)


def test_the_newest_moment_is_on_the_newest_timeline_though_the_old_primary_had_written_more() -> None:
    wal = StoredWal(S, whole(1, [1, 2, 3, 4, 5]) | whole(2, [3, 4]), histories=FORK)
    bases = [base(1.1, 1.2), base(4.1, 4.2, at=1)]
    choice = choose_recovery(bases, {LINEAGE: wal})
    assert (choice.base.id, choice.timeline, choice.end_lsn) == ("b0", 2, 5 * S)


def test_a_base_is_left_behind_where_the_newest_timeline_does_not_hold_all_of_it() -> None:
    wal = StoredWal(S, whole(2, [3, 4]), histories=FORK)
    assert left_behind(base(1.1, 3.5), wal) is None
    assert left_behind(base(3.6, 3.7, timeline=2), wal) is None
    assert left_behind(base(3.6, 3.7), StoredWal(S, whole(1, [3]))) is None
    told = left_behind(base(3.1, 3.6), wal)
    assert told == "timeline 1 was left at 0/3800000 for timeline 2, and this ended at 0/3999999"
    assert left_behind(base(3.1, 3.6, timeline=2), replace(wal, histories={3: FORK[2]})) is not None


FORKED = StoredWal(
    S,
    whole(1, [1, 2, 3, 4, 5]) | whole(2, [3, 4]),
    histories=FORK,
    marks=[
        mark(9, 4.5),
        mark(11, 5.5),
        mark(17, 5.9),
        mark(13, 3.6, timeline=2, beat=3.55),
        mark(20, 4.9, timeline=2),
    ],
)
FORKED_BASES = [base(1.1, 1.2, at=0), base(4.1, 4.2, at=5)]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (4, ("b0", 1)),
        (9, ("b5", 1)),
        (11, ("b5", 1)),
        (12.5, ("b5", 1)),
        (12.6, ("b0", 2)),
        (15, ("b0", 2)),
        (20, ("b0", 2)),
    ],
)
def test_a_moment_is_of_the_timeline_that_the_server_was_on_though_a_base_that_was_left_behind_is_nearer(
    at: float, expected: tuple[str, int]
) -> None:
    """The new timeline's first heartbeat is of 12:12:30; the old primary was written beside it, until 12:17.

    Whether what was committed by 12:04 lies before the fork, nothing tells: so it is taken from the old timeline.
    """
    assert choose(FORKED_BASES, FORKED, at)[:2] == expected


def test_a_moment_before_a_promotion_is_of_the_old_timeline_though_that_was_left_before_its_end() -> None:
    """A standby that lagged was promoted at 3.5, first seen at 12:20; the old timeline was stored to 4.9, of 12:10."""
    wal = StoredWal(
        S,
        whole(1, [1, 2, 3]) | whole(2, [3, 4]),
        [tail(1, 4, 4.9)],
        FORK,
        [mark(5, 3.4), mark(8, 4.2), mark(10, 4.9), mark(20, 4.5, timeline=2), mark(30, 5, timeline=2)],
    )
    for at, timeline in ((3, 2), (7, 1), (9.5, 1), (15, 2), (25, 2)):
        found = choose([base(1.1, 1.2)], wal, at)
        assert found[:2] == ("b0", timeline), at
    choice = choose_recovery([base(1.1, 1.2)], {LINEAGE: wal}, target=minute(9.5))
    assert choice.histories == (2,), "PostgreSQL is not to take that number for its own next timeline"


def test_a_base_of_the_new_timeline_tells_that_it_had_begun_and_a_mark_without_a_time_does_not() -> None:
    untimed = replace(mark(0, 3.6, timeline=2), time=datetime(2000, 1, 1, tzinfo=UTC))
    wal = replace(FORKED, marks=[*FORKED.marks[:3], untimed, FORKED.marks[-1]])
    assert choose(FORKED_BASES, wal, 15)[:2] == ("b5", 1)
    assert choose([*FORKED_BASES, base(3.7, 3.8, at=15, timeline=2)], wal, 14.5)[:2] == ("b0", 2)


def test_a_moment_that_only_a_base_that_was_left_behind_leads_to_is_refused_and_that_is_told() -> None:
    told = (
        "Base backup b5 leads there along timeline 1 alone, and by 2026-03-01T12:12:30Z the server had gone to "
        "timeline 2."
    )
    with pytest.raises(NoRecoveryPoint, match="is of the timeline that the server was on then") as caught:
        choose(FORKED_BASES[1:], FORKED, 15)
    assert caught.value.hint == (
        "Give a moment after 2026-03-01T12:05:00Z and not after 2026-03-01T12:12:30Z; or leave the moment out to get "
        f"all up to 0/6000000. {told}"
    )
    short = replace(FORKED, marks=FORKED.marks[:-1])
    with pytest.raises(NoRecoveryPoint, match="until 2026-03-01T12:13:00Z") as caught:
        choose(FORKED_BASES, short, 16)
    assert caught.value.hint.endswith(
        f"not after 2026-03-01T12:13:00Z; or leave the moment out to get all up to 0/5000000. {told}"
    )


def test_a_timeline_that_was_left_altogether_leaves_no_base_behind_that_the_next_one_holds() -> None:
    histories = FORK | {3: (Ancestor(1, 5 * S, "failover"),)}
    wal = replace(
        FORKED,
        complete=FORKED.complete | whole(3, [5, 6]),
        histories=histories,
        marks=[*FORKED.marks, mark(30, 6.5, timeline=3)],
    )
    assert choose(FORKED_BASES, wal, 15)[:2] == ("b5", 1), "the third one was first seen later"
    assert choose(FORKED_BASES, wal, 25)[:2] == ("b5", 3)


def test_a_path_follows_the_histories_and_not_the_numbers() -> None:
    histories = FORK | {
        3: (Ancestor(1, int(2.5 * S), "drill"),),
        4: (*FORK[2], Ancestor(2, 5 * S, "failover")),
    }
    wal = StoredWal(
        S, whole(1, [1, 2]) | whole(2, [3, 4]) | whole(3, [2, 3]) | whole(4, [5]), histories=histories
    )
    reach = find_reach(base(1.1, 1.2), wal)
    assert [stretch.timeline for stretch in reach.path] == [1, 2, 4]
    assert reach.end == 6 * S


def test_a_timeline_that_was_left_before_it_began_is_no_part_of_the_path() -> None:
    """PostgreSQL names its target timeline as parent even if it stopped before that timeline began."""
    histories = FORK | {3: (*FORK[2], Ancestor(2, int(2.5 * S), "before a moment"))}
    wal = StoredWal(S, whole(1, [1, 2, 3]) | whole(3, [2, 3]), histories=histories)
    reach = find_reach(base(1.1, 1.2), wal)
    assert [(plan.timeline, plan.start // S) for plan in reach.segments] == [(1, 1), (3, 2), (3, 3)]


@pytest.mark.parametrize(
    ("wal", "fault"),
    [
        (StoredWal(S, whole(1, [1, 2, 4])), "WAL 0/3000000-0/4000000 of timeline 1 is not in the store"),
        (
            StoredWal(S, whole(1, [1, 2]), marks=[mark(5, 2.5), mark(9, 3.25)]),
            "WAL 0/3000000-0/3400000 of timeline 1 is not in the store",
        ),
        (
            StoredWal(S, whole(1, [1, 2, 3]) | whole(2, [4]), histories=FORK),
            "WAL 0/3800000-0/4000000 of timeline 2 is not in the store",
        ),
        (StoredWal(S, whole(1, [1]) | whole(2, [3])), "history file 00000002.history is not in the store"),
        (StoredWal(S), "WAL 0/1000000-0/1333333 of timeline 1 is not in the store"),
        (StoredWal(S, whole(1, [1, 2, 3]), histories=FORK, marks=[mark(9, 3.9)]), None),
        (StoredWal(S, whole(1, [1, 2, 3])), None),
    ],
    ids=[
        "hole",
        "seen by a mark",
        "new timeline",
        "no history",
        "nothing",
        "a mark left at the fork",
        "all there",
    ],
)
def test_what_is_missing_is_named_exactly(wal: StoredWal, fault: str | None) -> None:
    faults = find_reach(base(1.1, 1.2), wal).faults()
    assert faults == (() if fault is None else (fault,))


def test_only_bases_whose_wal_reaches_their_end_are_listed() -> None:
    bases = [base(1.1, 1.2, at=0), base(2.1, 2.9, at=10), base(5.1, 5.2, at=20)]
    wal = StoredWal(S, whole(1, [1]), [tail(1, 2, 2.8)], marks=[mark(5, 1.9), mark(8, 2.7), mark(11, 5.3)])
    (interval,) = restorable_intervals(bases, {LINEAGE: wal})
    assert (interval.base.id, interval.begin, interval.end) == ("b0", minute(0), minute(8))
    assert interval.end_lsn == int(2.8 * S)
    assert restorable_intervals(bases, {}) == []


def test_a_base_alone_proves_nothing_of_what_was_committed_while_it_ended() -> None:
    """Its end is told by a clock that is read after its end LSN is."""
    stored = StoredWal(S, whole(1, [1, 2, 3, 4, 5]))
    [interval] = restorable_intervals([base(1.5, 5, at=4)], {LINEAGE: stored})
    assert interval.end == minute(3)
    with pytest.raises(NoRecoveryPoint, match="no base backup ended before"):
        choose_recovery([base(1.5, 5, at=4)], {LINEAGE: stored}, target=minute(3.5))


def choose(bases: list[Base], wal: StoredWal, at: float | None = None) -> tuple[str, int, float, str]:
    choice = choose_recovery(bases, {LINEAGE: wal}, target=None if at is None else minute(at))
    return choice.base.id, choice.timeline, choice.end_lsn / S, choice.stop


BASES = [base(1.1, 1.2, at=0), base(3.1, 3.2, at=10), base(5.1, 5.2, at=20)]
MARKS = [mark(at, 1.25 + at / 5, beat=1.22 + at / 5) for at in (4, 9, 14, 19, 24)]
FULL = StoredWal(S, whole(1, [1, 2, 3, 4, 5]), [tail(1, 6, 6.5)], marks=MARKS)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (None, ("b20", 1, 6.5, "end")),
        (3, ("b0", 1, 3, "time")),
        (9.5, ("b0", 1, 5, "time")),
        (10, ("b0", 1, 5, "time")),
        (10.01, ("b10", 1, 5, "time")),
        (21, ("b20", 1, 6.5, "time")),
        (23.6, ("b20", 1, 6.5, "survey")),
        (24, ("b20", 1, 6.5, "survey")),
    ],
)
def test_the_nearest_base_before_the_moment_and_no_more_wal_than_it_takes(
    at: float | None, expected: tuple[str, int, float, str]
) -> None:
    assert choose(BASES, FULL, at) == expected


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (24.1, "proves what was committed until 2026-03-01T12:24:00Z"),
        (0, "the first one, b0, ended 2026-03-01T12:00:00Z"),
    ],
)
def test_a_moment_that_cannot_be_had_names_the_nearest_that_can(at: float, message: str) -> None:
    with pytest.raises(NoRecoveryPoint, match=message) as caught:
        choose(BASES, FULL, at)
    assert "2026-03-01T12:" in caught.value.hint


def test_a_hole_before_the_moment_is_named() -> None:
    with pytest.raises(NoRecoveryPoint, match="WAL 0/3000000-0/4000000 of timeline 1 is not in the store"):
        choose(BASES[:1], replace(FULL, complete=whole(1, [1, 2, 4, 5])), 14)


AFTER_A_GAP = "; or leave the moment out to get all up to 0/6800000."


@pytest.mark.parametrize(
    ("at", "hint"),
    [
        (
            14,
            (
                "Give a moment after 2026-03-01T12:00:00Z and not after 2026-03-01T12:04:00Z, or after "
                "2026-03-01T12:20:00Z and not after 2026-03-01T12:24:00Z"
            ),
        ),
        (24.1, "Give a moment after 2026-03-01T12:20:00Z and not after 2026-03-01T12:24:00Z"),
        (-3, "Give a moment after 2026-03-01T12:00:00Z and not after 2026-03-01T12:04:00Z"),
    ],
    ids=["within a gap", "behind all", "before all"],
)
def test_a_moment_that_cannot_be_had_is_told_which_can(at: float, hint: str) -> None:
    gap = replace(FULL, complete=whole(1, [1, 2, 5]))
    with pytest.raises(NoRecoveryPoint) as caught:
        choose(BASES, gap, at)
    assert caught.value.hint == hint + AFTER_A_GAP
    lines = [word.rstrip(",;") for word in hint.split() if word.startswith("2026")]
    for told in map(datetime.fromisoformat, lines[1::2]):
        assert choose_recovery(BASES, {LINEAGE: gap}, target=told).target == told


def test_a_base_behind_which_nothing_was_seen_is_no_moment_to_give() -> None:
    stored = StoredWal(S, whole(1, [1]))
    with pytest.raises(NoRecoveryPoint) as caught:
        choose(BASES[:1], stored, 1)
    assert caught.value.hint == "Leave the moment out to get all up to 0/2000000."


def test_moments_behind_the_first_base_of_a_newer_epoch_are_of_that_one_alone() -> None:
    new = Lineage(7, 18, 2)
    bases = [*BASES, replace(BASES[0], id="new", lineage=new, end=minute(22))]
    wal = {LINEAGE: FULL, new: StoredWal(S, whole(1, [1]))}
    with pytest.raises(NoRecoveryPoint) as caught:
        choose_recovery(bases, wal, target=minute(23))
    assert "not after 2026-03-01T12:22:00Z; or leave" in caught.value.hint
    assert choose_recovery(bases, wal, target=minute(22)).base.id == "b20"


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=1))])
def test_a_moment_that_is_not_in_utc_is_refused(zone: timezone | None) -> None:
    with pytest.raises(UsageError, match="not in UTC"):
        choose_recovery(BASES, {LINEAGE: FULL}, target=NOON.replace(tzinfo=zone))


def test_without_any_base_that_can_be_used_the_reason_is_given() -> None:
    with pytest.raises(NoRecoveryPoint, match="there is no base backup"):
        choose_recovery([], {})
    with pytest.raises(NoRecoveryPoint, match="b0 has no WAL in the store"):
        choose_recovery(BASES[:1], {})
    with pytest.raises(NoRecoveryPoint, match="does not reach its end: WAL 0/1000000-"):
        choose_recovery(BASES[:1], {LINEAGE: StoredWal(S)})


def test_a_degraded_base_is_taken_only_where_no_other_serves() -> None:
    bases = [*BASES[:2], replace(BASES[2], degraded=True)]
    assert choose(bases, FULL)[0] == "b10"
    assert choose(bases, FULL, 22)[0] == "b10"
    assert choose(bases[2:], FULL)[0] == "b20"


def test_after_a_restore_into_production_the_new_epoch_is_chosen_and_the_old_one_for_older_moments() -> None:
    new = Lineage(7, 18, 2)
    bases = [*BASES, replace(BASES[0], id="new", lineage=new, end=minute(40))]
    wal = {LINEAGE: FULL, new: StoredWal(S, whole(1, [1]), marks=[mark(50, 1.5)])}
    assert choose_recovery(bases, wal).base.id == "new"
    assert choose_recovery(bases, wal, target=minute(45)).base.id == "new"
    assert choose_recovery(bases, wal, target=minute(15)).base.id == "b10"


def test_a_choice_says_what_it_is_to_be_held_against() -> None:
    latest = choose_recovery(BASES, {LINEAGE: FULL})
    assert latest.mark == MARKS[-1]
    assert latest.heartbeat_lsn == MARKS[-1].heartbeat_lsn
    earlier = choose_recovery(BASES, {LINEAGE: FULL}, target=minute(15))
    assert earlier.mark == MARKS[2]
    assert earlier.heartbeat_lsn == MARKS[2].heartbeat_lsn


def test_an_untimed_mark_demands_no_heartbeat_of_an_earlier_moment() -> None:
    """A mark of a timeline that was left carries the newest heartbeat, and no time at which it was there."""
    untimed = replace(MARKS[-1], time=datetime(2000, 1, 1, tzinfo=UTC))
    choice = choose_recovery(BASES, {LINEAGE: replace(FULL, marks=[*MARKS, untimed])}, target=minute(15))
    assert choice.heartbeat_lsn == MARKS[2].heartbeat_lsn


@pytest.mark.parametrize(
    ("newest", "later", "stop"),
    [(minute(24), minute(24), "time"), (minute(23), None, "end"), (None, None, "earlier")],
)
def test_the_walk_decides_how_to_stop_where_no_heartbeat_does(
    newest: datetime | None, later: datetime | None, stop: str
) -> None:
    choice = choose_recovery(BASES, {LINEAGE: FULL}, target=minute(23.9))
    assert decide_stop(choice, newest_end=newest, later_end=later) == stop
    known = choose_recovery(BASES, {LINEAGE: FULL}, target=minute(3))
    assert decide_stop(known, newest_end=None, later_end=None) == "time"
