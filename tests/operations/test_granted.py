"""What a grant tells is taken as it was chosen, or not at all."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drtool.errors import Corrupt
from drtool.operations.coverage import base_of
from drtool.operations.granted import granted_choice, tell
from drtool.operations.points import Inventory
from drtool.operations.restore_job import Job, RestoreRequest, Stopwatch
from drtool.operations.session import Session, Silent, World
from drtool.repository.format.grant import Grant, Opened
from drtool.repository.format.record import Json
from drtool.repository.reader import Reader
from drtool.repository.snapshot import Snapshot
from drtool.sources.postgres.coverage import Mark, SegmentPlan, Stretch, Tail
from drtool.sources.postgres.pitr import RecoveryChoice
from tests.repository.granting import make_scene

MOMENT = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)
FACTS = {
    "system_identifier": "7412345678901234567",
    "major": 17,
    "epoch": 1,
    "timeline": 2,
    "start_lsn": "F/1000028",
    "end_lsn": "F/1000100",
    "server_begin": "2026-03-02T07:00:00.000000Z",
    "server_end": "2026-03-02T07:01:00.000001Z",
    "wal_segment_size": 1 << 24,
}


def job_of(point: Snapshot) -> Job:
    repository = make_scene().operator()
    session = Session(None, "", repository, World(lambda: MOMENT, {}, Silent()))
    inventory = Inventory("files", {point.name: point}, [], [base_of(point)], {})
    watch = Stopwatch(lambda _phase: None)
    return Job(
        session, RestoreRequest("files", Path()), inventory, Reader(repository), watch, None, dry_run=True
    )


def opened(point: Snapshot, told: Json) -> Opened:
    return Opened(b"r" * 16, point.name, Grant("", "", {}, {}, {}, {}, [], told), b"")


@pytest.fixture
def point() -> Snapshot:
    return replace(make_scene().first, source="postgres", facts=FACTS)


def choice_of(point: Snapshot, **changes: Any) -> RecoveryChoice:
    tail = Tail(2, 0xF02000000, 0xF02000010)
    choice = RecoveryChoice(
        base=base_of(point),
        target=MOMENT,
        timeline=2,
        path=(Stretch(2, 0, None),),
        segments=(
            SegmentPlan(2, 0xF01000000, 0xF02000000),
            SegmentPlan(2, 0xF02000000, 0xF02000010, (tail,)),
        ),
        histories=(2,),
        end_lsn=0xF02000010,
        newest=MOMENT,
        stop="survey",
        heartbeat_lsn=None,
        mark=Mark(MOMENT, 2, 0xF02000010, 5, MOMENT),
        faults=("WAL 0/1-0/2 of timeline 2 is not in the store",),
    )
    return replace(choice, **changes)


def test_the_choice_is_the_very_one(point: Snapshot) -> None:
    choice = choice_of(point)
    assert granted_choice(job_of(point), opened(point, tell(MOMENT, choice))) == choice


def test_a_choice_for_another_base_is_corrupt(point: Snapshot) -> None:
    other = choice_of(point, base=replace(base_of(point), start_lsn=1))
    with pytest.raises(Corrupt, match="another base backup than the one it opens"):
        granted_choice(job_of(point), opened(point, tell(None, other)))


@pytest.mark.parametrize("told", [{}, {"choice": None}, {"choice": {"base": 1}}])
def test_a_choice_that_is_malformed_is_corrupt(point: Snapshot, told: Json) -> None:
    with pytest.raises(Corrupt, match="choice of WAL in the grant is malformed"):
        granted_choice(job_of(point), opened(point, told))
