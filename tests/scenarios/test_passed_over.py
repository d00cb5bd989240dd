"""Restores that take an older point than the newest that the store holds: they say which one, and why."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from drtool.demo.servers.process import wait_until
from tests.faults.proxy import Stall
from tests.faults.stores import flipped
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.conftest import System

MAX_RUN_S = 20  # longer than a small backup takes on a busy machine


def test_a_late_point_that_is_newer_is_told_with_what_takes_it(system: System, tmp_path: Path) -> None:
    repository = s3_repository(system.s3, system.proxy.endpoint) | {"url": "s3://plain/passed-over"}
    drtool = Commands.over(system.scene, repository, "passed-over", **system.drtool.environment)
    drtool = drtool.but("redis", password={"env": "REDIS_PASSWORD"}, max_run=f"{MAX_RUN_S}s")
    drtool.init()
    [taken] = drtool("backup", "redis").value["volumes"]
    later = datetime.fromisoformat(taken["moment"]) + timedelta(
        seconds=2
    )  # that moment is of a clock of whole seconds
    wait_until(lambda: datetime.now(UTC) > later, "the next point is a later one", deadline_s=10)
    system.proxy.inject(Stall(MAX_RUN_S + 1.5), when="PUT /plain/passed-over/snap/")
    drtool("backup", "redis", code=1)
    [late] = [each for each in drtool("points").value["points"] if each["state"] == "late"]

    for how in (["--dry-run"], []):
        restored = drtool.restore("redis", tmp_path / "old", *how).value["restore"]
        assert restored["point"] == taken["point"]
        assert [(each["name"], each["state"]) for each in restored["passed_over"]] == [(late["name"], "late")]
        [note] = restored["notes"][:1]
        assert note.startswith(f"not taken, though newer: {late['name']}, of ")
        assert note.endswith(f"is late: {late['detail']}; --accept-late takes it")

    newest = drtool.restore("redis", tmp_path / "new", "--accept-late").value["restore"]
    assert (newest["point"], newest["passed_over"]) == (late["name"], [])
    at = drtool.restore("redis", tmp_path / "at", "--at", taken["moment"]).value["restore"]
    assert (at["point"], at["passed_over"]) == (taken["point"], [])


def test_a_newer_base_backup_that_cannot_be_read_is_told(system: System, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    drtool = Commands.over(system.scene, {"url": f"file://{store}"}, "unread", **system.drtool.environment)
    drtool.init()
    drtool("backup", "postgres")
    [damaged] = drtool("backup", "postgres").value["volumes"]
    [snap] = [path for path in store.rglob("*") if path.is_file() and str(path).endswith(damaged["point"])]
    value = snap.read_bytes()
    snap.unlink()
    snap.write_bytes(flipped(value, len(value) // 2))

    restored = drtool.restore("postgres", tmp_path / "old", "--dry-run").value["restore"]

    assert [each["state"] for each in restored["passed_over"]] == ["unreadable"]
    assert restored["notes"][0].startswith(f"not taken, though newer: {damaged['point']}, of ")
    assert " is unreadable: " in restored["notes"][0]
