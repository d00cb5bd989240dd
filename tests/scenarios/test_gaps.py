"""A slot that was lost: a recorded gap, red until a new base backup is taken, and then green again without a hand."""

from collections.abc import Iterator
from datetime import UTC
from shutil import rmtree

import pytest

from drtool.demo.servers.postgres import private_directory
from drtool.errors import Refused
from drtool.operations.backup import run_backup
from drtool.operations.points import list_points
from drtool.operations.restore import RestoreRequest, run_restore
from drtool.operations.status import run_status
from drtool.operations.verify import run_verify
from drtool.operations.wal import run_catch_up
from drtool.sources.postgres.slot import inspect_slot, slot_name
from drtool.sources.postgres.wal import parse_lsn
from tests.conftest import S3Server
from tests.scenarios.scene import Scene, play


@pytest.fixture(scope="module")
def scene(s3_server: S3Server) -> Iterator[Scene]:
    with play(17, "6.2", s3_server.at(s3_server.plain)) as scene:
        scene.postgres.sql("alter system set min_wal_size = '32MB'")
        scene.postgres.sql("alter system set max_wal_size = '32MB'")
        scene.postgres.sql("select pg_reload_conf()")
        scene.postgres.sql("create table posts (id int primary key, text text)")
        yield scene


def keep(scene: Scene, size: str) -> None:
    """Say how much WAL a slot may keep."""
    scene.postgres.sql(f"alter system set max_slot_wal_keep_size = '{size}'")
    scene.postgres.sql("select pg_reload_conf()")


def lose_the_slot(scene: Scene) -> None:
    """Write more WAL than the slot may keep, until the server has dropped some."""
    keep(scene, "16MB")
    for _ in range(12):
        scene.postgres.sql("select pg_logical_emit_message(false, 'noise', repeat('x', 8000000))")
        scene.postgres.sql("select pg_switch_wal()")
        scene.postgres.sql("checkpoint")
        slot = inspect_slot(scene.postgres.settings, slot_name("scene", "postgres", scene.repository_id))
        if slot is not None and slot.is_lost:
            keep(scene, "1GB")
            return
    pytest.fail("the slot was not lost")


def test_a_lost_slot_is_a_recorded_gap_and_red_until_there_is_a_new_base(scene: Scene) -> None:
    writer = scene.as_writer()
    assert run_backup(writer, ["postgres"])[0].outcome == "done"
    lose_the_slot(scene)
    caught = run_catch_up(writer, "postgres")
    assert caught.gap is not None
    assert parse_lsn("0/1000000") < parse_lsn(caught.begin) <= parse_lsn(caught.end)
    assert not caught.restorable
    again = run_catch_up(writer, "postgres")
    assert again.gap is None
    assert not again.restorable
    [fault] = [fault for fault in run_status(writer).faults if "gap" in fault]
    assert "drtool backup postgres" in fault
    [due] = run_backup(writer, ["postgres"], due=True)
    assert due.outcome == "done", due.error
    assert "hole" in due.reason
    assert not [fault for fault in run_status(writer).faults if "gap" in fault]
    assert run_verify(writer, "L0").faults == ()


def test_a_backup_alone_mends_a_lost_slot_and_its_point_restores(scene: Scene) -> None:
    writer = scene.as_writer()
    assert run_backup(writer, ["postgres"])[0].outcome == "done"
    lose_the_slot(scene)
    scene.postgres.sql("insert into posts values (1, 'after the gap')")
    [mended] = run_backup(writer, ["postgres"])
    assert mended.outcome == "done", mended.error
    assert mended.point in {
        point.name for point in list_points(writer, "postgres") if point.state == "listed"
    }
    assert run_catch_up(writer, "postgres").restorable
    result = run_restore(scene.as_operator(), RestoreRequest("postgres", scene.directory / "mended"))
    assert result.point == mended.point
    assert all(proof.ok for proof in result.proofs)


def test_a_tablespace_made_since_the_base_is_not_replayed_into_a_directory_in_use(scene: Scene) -> None:
    writer = scene.as_writer()
    assert run_backup(writer, ["postgres"])[0].outcome == "done"
    place = private_directory("tablespace")
    [(before_it,)] = scene.postgres.sql("select clock_timestamp()")
    scene.postgres.sql("insert into posts values (2, 'before the tablespace')")
    try:
        scene.postgres.sql(f"create tablespace later location '{place}'")
        scene.postgres.sql("create table theirs tablespace later as select 1 as id")
        run_catch_up(writer, "postgres")
        before = sorted(place.rglob("*"))
        target = scene.directory / "no" / "such" / "beside"
        with pytest.raises(Refused, match=f"makes a tablespace in {place}"):
            run_restore(scene.as_operator(), RestoreRequest("postgres", target))
        assert sorted(place.rglob("*")) == before
        assert not (scene.directory / "no").exists()
        earlier = RestoreRequest("postgres", scene.directory / "earlier", at=before_it.astimezone(UTC))
        assert all(proof.ok for proof in run_restore(scene.as_operator(), earlier).proofs)
        assert sorted(place.rglob("*")) == before
    finally:
        scene.postgres.sql("drop table if exists theirs")
        scene.postgres.sql("drop tablespace if exists later")
        rmtree(place)
