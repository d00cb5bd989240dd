"""Who saw a volume's WAL durable: found among the records of many others, and what that costs."""

from datetime import UTC, datetime

import pytest

from drtool.operations.marks import loss_of
from drtool.operations.session import Session, Silent, World
from drtool.repository.runs import put_run
from drtool.sources.postgres.coverage import Base, Lineage, Reach, Stretch
from tests.repository.counting import Noting
from tests.repository.stage import Stage, make_stage

OURS = Lineage(7, 18, 1)
BASE = Base(
    "base", OURS, 1, 0, 100, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC), 1 << 20
)
REACH = Reach(BASE, (Stretch(1, 0, None),), (), 0x100, None, ())


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def put_mark(stage: Stage, volume: str, lsn: str | None, lineage: str = "7-18-1") -> None:
    mark = {} if lsn is None else {"timeline": "1", "lsn": lsn}
    value = {"volume": volume, "lineage": lineage, "outcome": "marked", "detail": "", **mark}
    put_run(stage.writer().records, "wal", stage.clock(), dict(value))
    stage.clock.leap(minutes=5)


def missed(stage: Stage, store: Noting) -> str | None:
    session = Session(None, "", stage.writer(store), World(stage.clock, {}, Silent()))
    return loss_of(session, REACH, 0x100, "postgres")


@pytest.mark.parametrize(
    ("volume", "lsn", "lineage"),
    [
        ("orders", "0/900", "8-18-1"),  # of another volume, whose followers tell marks each hour
        (
            "postgres",
            None,
            "7-18-1",
        ),  # of a follower that comes and goes, and never knows how far all is whole
        ("postgres", "0/900", "9-18-1"),  # of the server that was there before
    ],
)
def test_a_mark_is_found_behind_many_records_that_tell_nothing_of_the_volume(
    stage: Stage, volume: str, lsn: str | None, lineage: str
) -> None:
    put_mark(stage, "postgres", "0/200")
    for _ in range(100):
        put_mark(stage, volume, lsn, lineage)

    said = missed(stage, Noting(stage.store))

    assert said is not None
    assert "saw it durable up to 0/200" in said


def test_no_more_records_are_read_than_tell_the_newest_marks(stage: Stage) -> None:
    for number in range(100):
        put_mark(stage, "postgres", f"0/{number:X}")
    store = Noting(stage.store)

    assert missed(stage, store) is None
    assert len([name for name in store.of("get") if "-wal-" in name]) <= 16
