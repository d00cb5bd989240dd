"""Which gaps in the WAL stand, by the WAL itself and by the records of who found them."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from drtool.operations.gaps import standing_gap
from drtool.operations.points import Inventory
from drtool.repository.records import Record
from drtool.repository.snapshot import Snapshot
from drtool.sources.postgres.coverage import Base
from drtool.sources.postgres.wal import format_lsn
from tests.operations.squatting import LINEAGE
from tests.operations.test_coverage import MB, OURS, held_of, put_segment, put_tail
from tests.repository.stage import Stage, make_stage

SECOND = datetime(2026, 11, 25, 12, tzinfo=UTC)  # as S3 tells it


def inventory_of(stage: Stage, start: int, received: datetime = SECOND) -> Inventory:
    """Return what the store has of a volume with one base backup, whose WAL begins at start."""
    base = Base("snap/files/1-base", OURS, 1, start, start + 100, SECOND, SECOND, MB)
    snapshot = cast(Snapshot, Record(base.id, {}, "writer", "writer-1", received))
    return Inventory("files", {base.id: snapshot}, [], [base], {OURS: held_of(stage)})


def gap(to: str | None, *, role: str = "writer", lineage: str = LINEAGE.label) -> Record:
    value = {"volume": "files", "lineage": lineage, "outcome": "gap"} | ({"to": to} if to is not None else {})
    return Record("runs/20261125/20261125T120000.5Z-wal-x", value, role, "writer-1", SECOND)


def standing(inventory: Inventory, *runs: Record) -> str | None:
    return standing_gap(inventory, list(inventory.snapshots), runs)


@pytest.fixture
def stage() -> Stage:
    stage = make_stage()
    put_segment(stage, 2)
    put_tail(stage, 3 * MB, 3 * MB + 50)
    return stage


def test_a_base_behind_a_gap_mends_it_whichever_the_store_dated_later(stage: Stage) -> None:
    for seconds in (-1, 0, 1):
        there = inventory_of(stage, 2 * MB, SECOND + timedelta(seconds=seconds))
        assert standing(there, gap(format_lsn(2 * MB))) is None


def test_a_base_that_began_before_a_gap_does_not_mend_it(stage: Stage) -> None:
    there = inventory_of(stage, 2 * MB, SECOND + timedelta(seconds=9))
    told = standing(there, gap(format_lsn(5 * MB)))
    assert told == "the WAL of files has a gap since 2026-11-25T12:00:00Z: run `drtool backup files`"


def test_a_gap_is_seen_in_the_wal_where_its_record_is_not_read(stage: Stage) -> None:
    put_segment(stage, 5)
    told = standing(inventory_of(stage, 2 * MB))
    assert told is not None
    assert "has a gap: WAL 0/300032-0/500000 of timeline 1 is not in the store: run" in told
    assert standing(inventory_of(stage, 5 * MB)) is None


def test_a_record_that_says_not_up_to_where_stands_and_one_of_no_writer_says_nothing(stage: Stage) -> None:
    there = inventory_of(stage, 2 * MB)
    assert standing(there, gap(None))
    assert standing(there, gap("here"))
    assert standing(there, gap(format_lsn(5 * MB), role="operator")) is None


def test_of_another_system_a_gap_is_mended_by_a_base_that_came_later(stage: Stage) -> None:
    other = gap(format_lsn(9 * MB), lineage="8-18-1")
    assert standing(inventory_of(stage, 2 * MB, SECOND + timedelta(seconds=1)), other) is None
    assert standing(inventory_of(stage, 2 * MB, SECOND - timedelta(seconds=1)), other)
