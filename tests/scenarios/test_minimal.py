"""wal_level = minimal for a while, as the manual advises for bulk loads: a gap, for no replay goes through such WAL."""

from collections.abc import Iterator
from datetime import UTC

import pytest

from drtool.demo.servers.process import wait_until
from drtool.errors import NoRecoveryPoint
from drtool.operations import receiving
from drtool.operations.backup import run_backup
from drtool.operations.points import list_points
from drtool.operations.restore import RestoreRequest, run_restore
from drtool.operations.status import run_status
from drtool.operations.wal import run_catch_up
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.following import follower, is_streaming, status_of
from tests.scenarios.scene import Scene, play

REPLICA = {"wal_level": "replica", "max_wal_senders": "10"}
MINIMAL = {"wal_level": "minimal", "max_wal_senders": "0"}


@pytest.fixture(scope="module", params=[15, 18])
def scene(request: pytest.FixtureRequest, s3_server: S3Server) -> Iterator[Scene]:
    with play(request.param, "6.2", s3_server.at(s3_server.plain)) as scene:
        scene.postgres.sql("alter system set wal_keep_size = '512MB'")
        scene.postgres.sql("select pg_reload_conf()")
        scene.postgres.sql("create table loaded (id int)")
        yield scene


def restart(scene: Scene, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        scene.postgres.sql(f"alter system set {name} = '{value}'")
    scene.postgres.stop()
    scene.postgres.start()


def drop_slots(scene: Scene) -> None:
    scene.postgres.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots")


def load(scene: Scene, *, segments: int) -> None:
    """Load something while the server writes minimal WAL, over as many segments of it."""
    drop_slots(scene)
    restart(scene, MINIMAL)
    for _ in range(segments):
        scene.postgres.sql("select pg_logical_emit_message(false, 'noise', 'x')")
        scene.postgres.sql("select pg_switch_wal()")
    scene.postgres.sql("insert into loaded select generate_series(1, 100)")
    restart(scene, REPLICA)


@pytest.mark.parametrize("segments", [0, 3])
def test_minimal_wal_is_a_gap_and_a_new_base_is_due_at_once(scene: Scene, segments: int) -> None:
    writer = scene.as_writer()
    assert run_backup(writer, ["postgres"])[0].outcome == "done"
    assert run_catch_up(writer, "postgres").restorable
    load(scene, segments=segments)
    [(back,)] = scene.postgres.sql("select clock_timestamp()")
    caught = run_catch_up(writer, "postgres")
    assert caught.gap is not None
    assert "wal_level = minimal" in caught.gap
    assert not caught.restorable
    assert not run_catch_up(writer, "postgres").restorable
    assert max(point.end for point in list_points(writer, "postgres")) < back
    assert [fault for fault in run_status(writer).faults if "gap" in fault]
    with pytest.raises(NoRecoveryPoint, match="not until"):
        run_restore(scene.as_operator(), RestoreRequest("postgres", scene.directory / "never", at=back))
    [due] = run_backup(writer, ["postgres"], due=True)
    assert due.outcome == "done", due.error
    assert "hole" in due.reason
    again = run_catch_up(writer, "postgres")
    assert again.restorable
    assert again.gap is None
    assert not [fault for fault in run_status(writer).faults if "gap" in fault]
    result = run_restore(
        scene.as_operator(), RestoreRequest("postgres", scene.directory / f"mended-{segments}")
    )
    assert result.point == due.point


def test_a_backup_alone_mends_it_and_its_point_restores(scene: Scene) -> None:
    writer = scene.as_writer()
    assert run_backup(writer, ["postgres"])[0].outcome == "done"
    load(scene, segments=0)
    [mended] = run_backup(writer, ["postgres"])
    assert mended.outcome == "done", mended.error
    assert any("wal_level = minimal" in note for note in mended.notes)
    assert run_catch_up(writer, "postgres").restorable
    result = run_restore(scene.as_operator(), RestoreRequest("postgres", scene.directory / "alone"))
    assert result.point == mended.point


def test_a_slot_dropped_by_hand_is_no_gap_while_its_wal_is_there(scene: Scene) -> None:
    writer = scene.as_writer()
    assert run_backup(writer, ["postgres"])[0].outcome == "done"
    drop_slots(scene)
    for _ in range(2):
        scene.postgres.sql("insert into loaded values (0)")
        scene.postgres.sql("select pg_switch_wal()")
    restart(scene, {})
    caught = run_catch_up(writer, "postgres")
    assert caught.gap is None
    assert caught.restorable


def test_a_restore_through_minimal_wal_that_is_stored_is_refused_before_anything_is_touched(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = scene.as_writer()
    assert run_backup(writer, ["postgres"])[0].outcome == "done"
    scene.postgres.sql("insert into loaded values (1)")
    [(before,)] = scene.postgres.sql("select clock_timestamp()")
    scene.postgres.sql("insert into loaded values (2)")
    load(scene, segments=0)
    with monkeypatch.context() as older:  # a drtool that looked for no such WAL stored it
        older.setattr(receiving, "find_minimal", lambda *_: None)
        assert run_catch_up(writer, "postgres").restorable
    target = scene.directory / "no" / "such" / "through"
    for dry_run in (True, False):
        with pytest.raises(NoRecoveryPoint, match="wal_level = minimal"):
            run_restore(scene.as_operator(), RestoreRequest("postgres", target), dry_run=dry_run)
        assert not (scene.directory / "no").exists()
    earlier = RestoreRequest("postgres", scene.directory / "before", at=before.astimezone(UTC))
    assert all(proof.ok for proof in run_restore(scene.as_operator(), earlier).proofs)


def test_a_follower_records_it_and_goes_on_behind_the_base_that_a_backup_takes(
    scene: Scene, s3_server: S3Server
) -> None:
    drtool = Commands.over(scene, s3_repository(s3_server.at(s3_server.plain)), "following").but(
        "postgres", tail_every="2s"
    )
    drtool.init()
    drtool("backup", "postgres")
    load(scene, segments=0)
    with follower(drtool) as process:
        wait_until(lambda: bool(gaps_of(drtool)), "the gap is told", deadline_s=90)
        [due] = drtool("backup", "postgres", "--due").value["volumes"]
        assert (due["outcome"], "hole" in due["reason"]) == ("done", True)
        wait_until(lambda: is_streaming(scene.postgres), "it follows", deadline_s=90)
        wait_until(lambda: not gaps_of(drtool), "what it brings reaches the new base's end", deadline_s=90)
        assert process.poll() is None
    assert drtool("wal", "catch-up").value["catch_up"]["restorable"]


def gaps_of(drtool: Commands) -> list[str]:
    return [fault for fault in status_of(drtool)["faults"] if "has a gap" in fault]
