"""Who answers where the policy's host leads, after a failover: the promoted standby, or a server of its family."""

import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.postgres import PostgresServer, give, private_directory, run
from drtool.demo.servers.process import wait_until
from drtool.errors import TemporaryFailure
from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.s3 import S3Store
from drtool.sources.postgres.slot import make_slot
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.scene import Scene, play
from tests.scenarios.test_lives import enrol
from tests.sources.postgres.standins import standby_of


@dataclass
class Family:
    """A primary that is backed up, its standby, and drtool over whichever of them the policy names."""

    scene: Scene
    drtool: Commands
    store: ObjectStore
    standby: PostgresServer

    @property
    def primary(self) -> PostgresServer:
        return self.scene.postgres

    def over(self, server: PostgresServer) -> Commands:
        return self.drtool.but("postgres", port=server.port)

    def backup(self, server: PostgresServer) -> dict[str, Any]:
        [found] = self.over(server)("backup", "postgres").value["volumes"]
        assert found["outcome"] == "done"
        return dict(found)

    def refused(self, server: PostgresServer, code: int = 5) -> str:
        """Back up server, which is refused before anything is captured, by whatever asks; return the message."""
        before, drtool = self.captured(), self.over(server)
        message = drtool("backup", "postgres", code=code).error["message"]
        asked = drtool("backup", "postgres", "--dry-run", code=code).error["message"]
        examined = drtool.end(drtool.start("doctor", "--dry-run")).value["examination"]["findings"]
        told = [without_lsn(each["message"]) for each in examined]
        assert without_lsn(asked) == without_lsn(message)
        assert code == 6 or without_lsn(message) in told  # doctor says of a standby what else it takes
        assert self.captured() == before
        return str(message)

    def captured(self) -> set[str]:
        return {
            found.name for kind in ("packs", "snap", "wal", "tail") for found in self.store.list(f"{kind}/")
        }

    def verified(self, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.drtool("verify", "--level", "L0", code=code).value["verification"]
        return found

    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.drtool("points", "postgres").value["points"]}

    def follow_up(self) -> None:
        """Wait until the standby has all that the primary wrote."""
        written = self.primary.sql("select pg_current_wal_flush_lsn()::text")[0][0]
        wait_until(lambda: has_replayed(self.standby, written), "the standby has it all", deadline_s=60)

    def promoted(self) -> PostgresServer:
        promote(self.standby)
        return self.standby


def without_lsn(message: str) -> str:
    """Return message without positions: an idle server writes a little, too."""
    return re.sub(r"[0-9A-F]+/[0-9A-F]+", "LSN", message)


def promote(server: PostgresServer) -> None:
    server.sql("select pg_promote(wait_seconds => 120)")


def write(server: PostgresServer, mib: int) -> None:
    server.sql(
        "select pg_logical_emit_message(true, 'filler', repeat('x', 1 << 20)) from generate_series(1, %s)",
        mib,
    )
    server.sql("select pg_switch_wal()")


@contextmanager
def family_of(s3_server: S3Server) -> Iterator[Family]:
    s3 = s3_server.at(s3_server.plain)
    with play(17, "6.2", s3_server.at(s3_server.plain), wal_segment_mb=1) as scene:
        drtool = Commands.over(scene, s3_repository(s3))
        drtool.init()
        directory = private_directory("standby")
        standby = standby_of(scene.postgres, directory)
        try:
            drtool("backup", "postgres")
            with closing(S3Store(s3)) as store:
                yield Family(scene, drtool, store, standby)
        finally:
            standby.kill()
            shutil.rmtree(directory)


@pytest.fixture
def family(s3_server: S3Server) -> Iterator[Family]:
    with family_of(s3_server) as family:
        yield family


def test_an_old_primary_that_comes_back_is_refused_before_it_is_captured_and_one_that_was_rewound_is_not(
    family: Family,
) -> None:
    family.follow_up()
    family.primary.kill()
    promoted = family.promoted()
    family.backup(promoted)
    write(promoted, 1)
    assert family.over(promoted)("wal", "catch-up").value["catch_up"]["restorable"]

    family.primary.start()
    write(family.primary, 1)
    assert "is on timeline 1, and timeline 2 was received before" in family.refused(family.primary)
    family.over(family.primary)("wal", "catch-up", code=5)
    assert family.verified()["unfinished"] == []
    assert set(family.states().values()) == {"listed"}

    family.primary.stop("fast")
    make_slot(promoted.settings, "standby")  # the name that it copies with the settings
    source = f"host=127.0.0.1 port={promoted.port} user=postgres password={promoted.password} dbname=postgres"
    program = family.primary.bin_dir / "pg_rewind"
    run([program, "-D", family.primary.data, "--source-server", source, "-R"], cwd=family.primary.data.parent)
    family.primary.start()
    assert "is a standby" in family.refused(family.primary, code=6)

    written = promoted.sql("select pg_current_wal_flush_lsn()::text")[0][0]
    wait_until(lambda: has_replayed(family.primary, written), "the old primary follows", deadline_s=60)
    promoted.kill()
    promote(family.primary)
    family.backup(family.primary)
    assert family.verified()["unfinished"] == []
    assert set(family.states().values()) == {"listed"}


def test_a_standby_that_lagged_behind_and_is_promoted_is_backed_up_and_wal_lost_later_is_damage(
    family: Family,
) -> None:
    """What is stored of the old timeline goes on behind the fork, further than a segment."""
    family.follow_up()
    family.standby.stop("immediate")
    write(family.primary, 3)
    ahead = family.backup(family.primary)["point"]
    write(family.primary, 1)
    family.drtool("wal", "catch-up")
    family.primary.kill()
    family.standby.start()
    promoted = family.promoted()

    family.backup(promoted)
    write(promoted, 1)
    assert family.over(promoted)("wal", "catch-up").value["catch_up"]["restorable"]
    assert set(family.states().values()) == {"listed"}
    assert family.verified()["unfinished"] == []

    for found in [*family.store.list("wal/postgres/"), *family.store.list("tail/postgres/")]:
        if found.name.split("/")[3] == "00000001":
            family.store.delete(found.name)
    assert family.states()[ahead] == "without WAL"
    assert ahead in [each["name"] for each in family.verified(code=4)["faults"]]


def test_a_server_that_was_promoted_beside_another_one_is_refused(family: Family) -> None:
    family.follow_up()
    family.standby.stop("immediate")
    write(family.primary, 1)
    family.primary.stop("fast")
    family.standby.start()
    family.backup(family.promoted())

    signal = family.primary.data / "standby.signal"
    signal.touch()
    give(signal)
    family.primary.start()
    promote(family.primary)
    write(family.primary, 1)
    assert "came to timeline 2 in another way" in family.refused(family.primary)
    family.over(family.primary)("wal", "catch-up", code=5)

    restart_as_standby(family.primary, signal)
    promote(family.primary)
    assert "came to timeline 2 in another way" in family.refused(family.primary)
    assert family.verified()["unfinished"] == []


def test_a_primary_that_was_put_back_to_an_older_state_is_refused(family: Family) -> None:
    server = family.primary
    server.stop("fast")
    copy = server.data.with_name("older")
    shutil.copytree(server.data, copy, symlinks=True)
    server.start()
    write(server, 3)
    family.drtool("wal", "catch-up")
    server.stop("fast")
    shutil.rmtree(server.data)
    copy.rename(server.data)
    give(server.data)
    server.start()
    assert "it was put back to an older state" in family.refused(server)
    family.drtool("wal", "catch-up", code=5)


def test_a_snapshot_that_was_captured_of_an_old_primary_is_told_as_that_and_is_no_damage(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier drtool captured it whole, and refused it then."""
    family.follow_up()
    family.primary.kill()
    family.backup(family.promoted())
    family.primary.start()
    write(family.primary, 1)
    with monkeypatch.context() as earlier:
        earlier.setattr("drtool.operations.capture.refuse_other_server", lambda _session, _volume: None)
        family.over(family.primary)("backup", "postgres", code=5)

    [name] = [name for name, state in family.states().items() if state != "listed"]
    assert family.states()[name] == "without WAL"
    [told] = family.verified()["unfinished"]
    assert told["name"] == name
    assert "timeline 1 was left at" in told["message"]


def test_a_snapshot_whose_wal_was_not_there_when_the_system_was_restored_is_no_damage(
    family: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its backup was killed once the snapshot was stored; before the next one, the disaster came."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def stopped(*_: object) -> None:
        raise TemporaryFailure("the WAL is not there yet", hint="Wait.")

    with monkeypatch.context() as then:
        then.setattr("drtool.operations.capture.receive_or_gap", stopped)
        then.setattr("drtool.operations.capture._finish_wal", killed)
        family.drtool("backup", "postgres", code=130)
    [name] = [name for name, state in family.states().items() if state == "waiting for WAL"]
    assert name in [each["name"] for each in family.verified(code=4)["faults"]], "its WAL may come yet"

    newest = max(found.modified for found in family.store.list("runs/"))
    wait_until(
        lambda: family.store.now() > newest, "what writer-1 wrote is of an earlier second", deadline_s=10
    )
    bundle = tmp_path / "second.json"
    enrol(family.drtool, bundle)
    family.drtool.bundle.write_bytes(bundle.read_bytes())
    assert family.states()[name] == "without WAL"
    [told] = family.verified()["unfinished"]
    assert (told["name"], "epoch 1 ended" in told["message"]) == (name, True)


def has_replayed(server: PostgresServer, lsn: str) -> bool:
    return bool(server.sql("select pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn)[0][0])


def restart_as_standby(server: PostgresServer, signal: Path) -> None:
    server.stop("fast")
    signal.touch()
    give(signal)
    server.start()
