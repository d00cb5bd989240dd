"""Who answers where the policy's host leads, after a failover: the promoted standby, or a server of its family."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.postgres import PostgresServer, give, private_directory, run
from drtool.demo.servers.process import wait_until
from drtool.errors import Refused
from drtool.operations.descent import refuse_other_server
from drtool.operations.follow import run_follow
from drtool.operations.receiving import reach_instance, receive_or_gap
from drtool.operations.session import KeyFiles, Session, Silent, World, open_session, read_bundle
from drtool.operations.settings import postgres_volume
from drtool.operations.slot_watch import SlotWatch
from drtool.operations.wal import run_catch_up
from drtool.policy.load import load_policy
from drtool.repository.dedup import look_back
from drtool.repository.format.names import json_time
from drtool.repository.records import arrival
from drtool.repository.repository import open_with_bundle
from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.s3 import S3Store
from drtool.repository.writer import Writer
from drtool.sources.postgres.slot import drop_slot, make_slot
from tests.conftest import S3Server
from tests.repository.counting import Noting
from tests.repository.stage import save, snapshots
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.scene import Scene, play
from tests.scenarios.test_lives import enrol
from tests.sources.postgres.standins import restored, standby_of


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

    def refused_follower(self, server: PostgresServer) -> None:
        """Follow server, which is refused; a follower that is asked to end says so at once."""
        world = World(lambda: datetime.now(UTC), {**os.environ, **self.drtool.environment}, Silent())
        world.ending.set()
        drtool = self.over(server)
        keys = KeyFiles(bundle=drtool.bundle)
        with (
            SlotWatch(load_policy(drtool.policy), "postgres", keys, world) as watch,
            pytest.raises(Refused, match="timeline 2 was received before"),
        ):
            run_follow(lambda: open_session(drtool.policy, None, keys, world), world, "postgres", watch)

    def captured(self) -> set[str]:
        return {
            found.name for kind in ("packs", "snap", "wal", "tail") for found in self.store.list(f"{kind}/")
        }

    def verified(self, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.drtool("verify", "--level", "L0", code=code).value["verification"]
        return found

    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.drtool("points", "postgres").value["points"]}

    def details(self) -> dict[str, str]:
        return {each["name"]: each["detail"] for each in self.drtool("points", "postgres").value["points"]}

    def follow_up(self) -> None:
        """Wait until the standby has all that the primary wrote."""
        written = self.primary.sql("select pg_current_wal_flush_lsn()::text")[0][0]
        wait_until(lambda: has_replayed(self.standby, written), "the standby has it all", deadline_s=60)

    def session(self) -> Session:
        world = World(lambda: datetime.now(UTC), {**os.environ, **self.drtool.environment}, Silent())
        return open_session(self.drtool.policy, None, KeyFiles(bundle=self.drtool.bundle), world)

    def slots(self, server: PostgresServer) -> list[str]:
        """Return drtool's slots, which keep the server's WAL."""
        named = "select slot_name::text from pg_replication_slots where slot_name like 'drtool%'"
        return [name for (name,) in server.sql(named)]

    def refused_without_a_slot(self, server: PostgresServer, code: int = 5) -> None:
        self.over(server)("wal", "catch-up", code=code)
        assert self.slots(server) == [], "a slot there would keep its WAL for nobody"

    def drop_slots(self, server: PostgresServer) -> None:
        for slot in self.slots(server):
            drop_slot(server.settings, slot)

    def snapshot_alone(self, server: PostgresServer) -> str:
        """Store a base backup of timeline 1, up to where server writes now, without its WAL; return its name.

        So a backup leaves it that was killed then, or whose receiver was refused, as that of an old primary once was.
        """
        session = self.session()
        with closing(session):
            like = max(snapshots(session.repository, "postgres"), key=arrival)
            [(begin,)] = server.sql("select pg_current_wal_flush_lsn()::text")
            write(server, 1)
            [(end,)] = server.sql("select pg_current_wal_flush_lsn()::text")
            earlier = look_back(session.repository.records, "postgres", timedelta(days=1), None)
            with Writer(session.repository, "postgres", "postgres", earlier) as writer:
                save(writer, {"base": b"pages"})
                now = session.repository.store.now()
                facts = {**like.facts, "timeline": 1, "start_lsn": begin, "end_lsn": end}
                times = {"server_begin": json_time(now), "server_end": json_time(now)}
                return writer.commit(now, now, {**facts, **times})

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
    family.drop_slots(family.primary)  # of the time when it was the primary
    assert "is on timeline 1, and timeline 2 was received before" in family.refused(family.primary)
    family.refused_follower(family.primary)
    family.refused_without_a_slot(family.primary)
    assert family.verified()["unfinished"] == []
    assert set(family.states().values()) == {"listed"}

    family.primary.stop("fast")
    make_slot(promoted.settings, "standby")  # the name that it copies with the settings
    source = f"host=127.0.0.1 port={promoted.port} user=postgres password={promoted.password} dbname=postgres"
    program = family.primary.bin_dir / "pg_rewind"
    run([program, "-D", family.primary.data, "--source-server", source, "-R"], cwd=family.primary.data.parent)
    family.primary.start()
    assert "is a standby" in family.refused(family.primary, code=6)
    family.refused_without_a_slot(family.primary, code=6)

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

    family.over(promoted)("wal", "catch-up")
    assert "timeline 1 was left at" in family.details()[ahead]
    [due] = family.over(promoted)("backup", "--due", "--dry-run", "postgres").value["volumes"]
    assert (due["outcome"], "timeline 1 was left at" in due["reason"]) == ("would run", True)
    newest = family.backup(promoted)["point"]
    write(promoted, 1)
    assert family.over(promoted)("wal", "catch-up").value["catch_up"]["restorable"]
    [due] = family.over(promoted)("backup", "--due", "--dry-run", "postgres").value["volumes"]
    assert "timeline" not in due["reason"]
    assert set(family.states().values()) == {"listed"}
    assert {name for name, detail in family.details().items() if detail} == {ahead} - {newest}
    assert family.verified()["unfinished"] == []

    for found in [*family.store.list("wal/postgres/"), *family.store.list("tail/postgres/")]:
        if found.name.split("/")[3] == "00000001":
            family.store.delete(found.name)
    assert family.states()[ahead] == "without WAL"
    assert ahead in [each["name"] for each in family.verified(code=4)["faults"]]


def test_what_a_lagging_standby_lost_is_restored_to_a_moment_before_its_promotion(family: Family) -> None:
    family.primary.sql("create table kept (id int)")
    family.follow_up()
    family.standby.stop("immediate")
    family.primary.sql("insert into kept values (1)")
    [(moment,)] = family.primary.sql("select clock_timestamp()")
    write(family.primary, 1)
    family.drtool("wal", "catch-up")
    family.primary.kill()
    family.standby.start()
    promoted = family.promoted()
    assert promoted.sql("select id from kept") == []
    family.over(promoted)("wal", "catch-up")
    family.backup(promoted)

    at = ("--at", moment.astimezone(UTC).isoformat(), "--bin-dir", str(family.primary.bin_dir))
    for directory, more, ids in (("then", at, [(1,)]), ("newest", at[2:], [])):
        family.drtool.restore("postgres", family.scene.directory / directory, *more)
        with restored(family.primary, family.scene.directory / directory) as server:
            assert server.sql("select id from kept") == ids


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
    family: Family,
) -> None:
    """An earlier drtool captured it whole, and refused it then."""
    family.follow_up()
    family.primary.kill()
    family.backup(family.promoted())
    family.primary.start()
    write(family.primary, 1)
    name = family.snapshot_alone(family.primary)

    assert family.states()[name] == "without WAL"
    [told] = family.verified()["unfinished"]
    assert told["name"] == name
    assert "timeline 1 was left at" in told["message"]


def test_a_snapshot_whose_wal_was_not_there_when_the_system_was_restored_is_no_damage(
    family: Family, tmp_path: Path
) -> None:
    """Its backup was killed once the snapshot was stored; before the next one, the disaster came."""
    name = family.snapshot_alone(family.primary)
    assert family.states()[name] == "waiting for WAL"
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


def test_the_wal_that_was_listed_to_look_who_a_server_is_is_not_listed_again(family: Family) -> None:
    with closing(family.session()) as opened:
        noting = Noting(family.store)
        bundle = read_bundle(KeyFiles(bundle=family.drtool.bundle), None, opened.world)
        session = replace(opened, repository=open_with_bundle(noting, bundle))
        volume = postgres_volume(session.need_policy(), "postgres")

        def listings() -> int:
            listed = [name for verb in ("list", "versions") for name in noting.of(verb)]
            return len([name for name in listed if name.startswith("wal/")])

        run_catch_up(session, "postgres", dry_run=True)
        assert listings() == 1
        held = refuse_other_server(session, volume)
        assert listings() == 2
        receive_or_gap(session, reach_instance(session, volume, is_asked=True), held=held)
        assert listings() == 2


def has_replayed(server: PostgresServer, lsn: str) -> bool:
    return bool(server.sql("select pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn)[0][0])


def restart_as_standby(server: PostgresServer, signal: Path) -> None:
    server.stop("fast")
    signal.touch()
    give(signal)
    server.start()
