"""What the records of runs tell of a base backup without WAL: who may say so, of which lineage, and what it costs."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from drtool.operations.session import Session, Silent, World
from drtool.operations.told import Told
from drtool.repository.format.record import Json
from drtool.repository.records import Records
from drtool.repository.runs import RunKind, put_run
from drtool.sources.postgres.coverage import Base, Gap, Lineage
from tests.repository.counting import Noting
from tests.repository.stage import Stage, make_stage

OURS = Lineage(7, 18, 1)
SEED = bytes(range(32))
GAP = Gap(1, 0x100, 0x400)
RECORDED: Json = {"volume": "postgres", "lineage": "7-18-1", "outcome": "gap", "to": "0/400"}


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def base_of(stage: Stage) -> Base:
    return Base("snap/postgres/base", OURS, 1, 0, 0x300, stage.clock(), stage.clock(), 1 << 20)


def told(stage: Stage, store: Noting | None = None, since: datetime | None = None) -> Told:
    session = Session(None, "", stage.writer(store), World(stage.clock, {}, Silent()))
    return Told(session, "postgres", since or stage.clock())


def put(stage: Stage, value: Json, kind: RunKind = "wal", records: Records | None = None) -> None:
    put_run(records or stage.writer().records, kind, stage.clock(), value)


def test_a_gap_that_a_receiver_recorded_is_known_of_its_lineage_alone(stage: Stage) -> None:
    put(stage, RECORDED)
    base = base_of(stage)
    assert told(stage).is_recorded(base, GAP)
    assert not told(stage).is_recorded(replace(base, lineage=Lineage(7, 18, 2)), GAP)
    assert not told(stage).is_recorded(base, replace(GAP, end=0x500))


@pytest.mark.parametrize("more", [{"volume": "other"}, {"lineage": "8-18-1"}, {"outcome": "done"}])
def test_what_is_told_of_something_else_is_no_gap(stage: Stage, more: Json) -> None:
    put(stage, {**RECORDED, **more})
    assert not told(stage).is_recorded(base_of(stage), GAP)


def test_a_gap_that_nobody_recorded_who_brings_wal_excuses_nothing(stage: Stage) -> None:
    stage.enrol_signer("verifier", SEED)
    verifier = stage.records_of("verifier", SEED)
    put(stage, RECORDED, records=verifier)
    base = base_of(stage)
    put(stage, {"volume": "postgres", "outcome": "done", "point": base.id}, "backup", verifier)
    assert not told(stage).is_recorded(base, GAP)
    assert not told(stage).was_whole(base)


def test_a_base_backup_was_whole_if_its_run_ended_well_or_a_mark_lies_behind_its_end(stage: Stage) -> None:
    base = base_of(stage)
    put(stage, {"volume": "postgres", "outcome": "failed", "point": base.id}, "backup")
    mark = {"volume": "postgres", "lineage": "7-18-1", "timeline": "1"}
    put(stage, {**mark, "lsn": "0/200"})
    assert not told(stage).was_whole(base)
    put(stage, {**mark, "lsn": "0/300"})
    assert told(stage).was_whole(base)
    other = replace(base, id="snap/postgres/other", end_lsn=0x900)
    put(stage, {"volume": "postgres", "outcome": "done", "point": other.id}, "backup")
    assert told(stage).was_whole(other)


def test_however_many_base_backups_are_asked_about_the_runs_are_listed_and_read_for_one(stage: Stage) -> None:
    begun = stage.clock()
    for _ in range(5):
        stage.clock.leap(minutes=5)
        put(stage, {**RECORDED, "to": "0/900"})
        put(stage, {"volume": "postgres", "outcome": "done", "point": "snap/postgres/x"}, "backup")

    def reads(bases: int) -> int:
        store = Noting(stage.store)
        known = told(stage, store, begun - timedelta(minutes=1))
        for number in range(bases):
            base = replace(base_of(stage), id=f"snap/postgres/{number}")
            assert not known.is_recorded(base, GAP)
            assert not known.was_whole(base)
        return len([name for verb in ("get", "list", "versions") for name in store.of(verb)])

    assert reads(20) == reads(1) > 0
