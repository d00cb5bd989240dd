"""Which server goes on with what is stored: tables of timelines, and where they fork. Segments are S bytes."""

from collections.abc import Mapping

import pytest

from drtool.errors import Refused
from drtool.sources.postgres.coverage import Mark, StoredWal, Tail
from drtool.sources.postgres.descent import Line, go_on, newest_timeline, refuse_other_line
from drtool.sources.postgres.hearing import EPOCH
from drtool.sources.postgres.wal import Ancestor

S = 1 << 20
ONE_AT_3 = (Ancestor(1, 3 * S, "failover"),)
ONE_AT_4 = (Ancestor(1, 4 * S, "another one"),)
THREE = (*ONE_AT_3, Ancestor(2, 6 * S, "failover"))


def line(timeline: int, *ancestors: Ancestor, flush: int = 9, is_standby: bool = False) -> Line:
    return Line("who", timeline, ancestors, flush * S, is_standby)


def stored(
    *segments: tuple[int, int], histories: Mapping[int, tuple[Ancestor, ...]] | None = None
) -> StoredWal:
    return StoredWal(
        S, frozenset((timeline, number * S) for timeline, number in segments), histories=histories or {}
    )


EMPTY = stored()
FIRST = stored((1, 1), (1, 2))
SECOND = stored((1, 1), (2, 3), (2, 4), histories={2: ONE_AT_3})


@pytest.mark.parametrize(
    ("server", "known"),
    [
        (line(1), EMPTY),
        (line(7, *THREE), EMPTY),
        (line(1), FIRST),
        (line(1, flush=3), FIRST),
        (line(2, *ONE_AT_3), FIRST),
        (line(2, *ONE_AT_3, flush=4), FIRST),
        (line(2, *ONE_AT_3), SECOND),
        (line(3, *THREE), SECOND),
        (line(3, *THREE), FIRST),
        (line(2, *ONE_AT_3), stored((2, 3))),  # whose history file is not there
        (line(1, flush=2, is_standby=True), FIRST),  # it lags, and says so itself
    ],
)
def test_a_server_goes_on(server: Line, known: StoredWal) -> None:
    refuse_other_line(server, known)


@pytest.mark.parametrize(
    ("server", "known", "why"),
    [
        (line(1), SECOND, "is on timeline 1, and timeline 2 was received before"),
        (line(1), stored((1, 1), histories={2: ONE_AT_3}), "is on timeline 1, and timeline 2"),
        (line(2, *ONE_AT_4), SECOND, "came to timeline 2 in another way .* timeline 1 at 0/400000"),
        (line(3, *ONE_AT_4, Ancestor(2, 6 * S, "")), SECOND, "came to timeline 2 in another way"),
        (line(3, *ONE_AT_4), SECOND, "timeline 3, which does not come from timeline 2"),
        (line(1, flush=2), FIRST, "WAL up to 0/200000 of timeline 1, and 0/300000 was received before"),
    ],
)
def test_a_server_is_another_one(server: Line, known: StoredWal, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        refuse_other_line(server, known)
    assert "drtool keys enrol" in caught.value.hint


def test_the_newest_timeline_is_that_of_whatever_is_stored() -> None:
    assert newest_timeline(EMPTY) == 0
    assert newest_timeline(StoredWal(S, tails=[Tail(4, 0, 1)])) == 4
    assert newest_timeline(StoredWal(S, marks=[Mark(EPOCH, 5, 1)])) == 5


@pytest.mark.parametrize(
    ("server", "timeline", "lsn", "begins"),
    [
        (line(1), 1, 5, (1, 5)),
        (line(2, *ONE_AT_3), 1, 3, (1, 3)),
        (line(2, *ONE_AT_3), 1, 4, (2, 3)),
        (line(3, *THREE), 1, 4, (2, 3)),
        (line(3, *THREE), 2, 7, (3, 6)),
        (line(3, *THREE), 3, 8, (3, 8)),
    ],
)
def test_receiving_goes_on_where_the_server_left_a_timeline(
    server: Line, timeline: int, lsn: int, begins: tuple[int, int]
) -> None:
    assert go_on(server, timeline, lsn * S, S) == (begins[0], begins[1] * S)
