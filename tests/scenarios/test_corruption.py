"""A rotten repository, through the command line: verify names the object, restore refuses, never a wrong byte."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from drtool.demo.servers.redis import RedisServer
from drtool.sources.postgres.wal import parse_lsn
from drtool.sources.redis.connection import Connection
from tests.faults.stores import flipped
from tests.scenarios.commands import Commands
from tests.scenarios.conftest import System
from tests.scenarios.targets import empty, run_plan

Keys = dict[bytes, object]


@dataclass(frozen=True)
class Sound:
    """A repository in a directory, whole; and what Redis held at each of its points."""

    system: System
    drtool: Commands
    store: Path
    keys: dict[str, Keys]

    def newest(self, family: str) -> str:
        """Return the name of the newest object of a family; family may go on: packs/redis."""
        return self.names(family)[-1]

    def names(self, family: str) -> list[str]:
        """Return the names of a family's objects, by age: what was stored within a tick, as its name goes on."""
        files = [path for path in self.store.glob(f"{family}/**/*") if path.is_file()]
        return [
            str(path.relative_to(self.store))
            for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path))
        ]


@pytest.fixture(scope="session")
def sound(backed_up_system: System) -> Sound:
    """A point of PostgreSQL, with whole segments of WAL and tails behind it, and two of Redis."""
    system, keys = backed_up_system, {}
    store = system.scene.directory / "rotten" / "store"
    drtool = Commands.over(system.scene, {"url": f"file://{store}"}, "rotten", **system.drtool.environment)
    drtool = drtool.but("redis", password={"env": "REDIS_PASSWORD"})
    store.mkdir()
    drtool.init()
    drtool("backup", "postgres")
    for _ in range(2):
        for _ in range(2):
            system.scene.postgres.sql("select pg_logical_emit_message(true, 'x', 'y')")
            system.scene.postgres.sql("select pg_switch_wal()")
        drtool("wal", "catch-up")
        with system.scene.redis.connect() as connection:
            connection.call("INCR", "changes")
            held = read_keys(connection)
        [made] = drtool("backup", "redis").value["volumes"]
        keys[made["point"]] = held
    drtool("verify", "--level", "L1")
    return Sound(system, drtool, store, keys)


def read_keys(connection: Connection) -> Keys:
    names = connection.call("KEYS", "*")
    assert isinstance(names, list)
    return {name: connection.call("GET", name) for name in names if isinstance(name, bytes)}


@dataclass(frozen=True)
class Rotten:
    """A copy of the sound repository that may be damaged: its files are links until they are."""

    sound: Sound
    store: Path
    drtool: Commands
    target: Path

    def damage(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change the bytes of one object, as a disk does: its time stays."""
        path = self.store / name
        value, times = path.read_bytes(), path.stat()
        path.unlink()
        path.write_bytes(change(value))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def verify(self, level: str, code: int = 4) -> set[str]:
        """Return the names that a verification finds wrong."""
        command = self.drtool.operator if level == "L2" else self.drtool
        faults = command("verify", "--level", level, code=code).value["verification"]["faults"]
        return {fault["name"] for fault in faults}

    def refuses(self, volume: str, *codes: int) -> str:
        """Return why volume is not restored; nothing of what was written until then is left."""
        message: str = self.drtool.restore(volume, self.target, code=codes).error["message"]
        assert not self.target.exists() or not any(self.target.iterdir())
        return message

    def restored_redis(self, *arguments: str) -> tuple[str, Keys]:
        """Restore Redis; return which point came back, and what a server then holds."""
        directory = self.target.with_name("redis")
        restored = self.drtool.restore("redis", directory / "data", *arguments).value["restore"]
        server = RedisServer.create(self.sound.system.scene.redis.program, directory)
        server.start()
        try:
            with server.connect() as connection:
                return restored["point"], read_keys(connection)
        finally:
            server.kill()


@pytest.fixture
def rotten(sound: Sound, tmp_path: Path) -> Rotten:
    store = tmp_path / "store"
    shutil.copytree(sound.store, store, copy_function=os.link)
    return Rotten(sound, store, sound.drtool.but("repository", url=f"file://{store}"), tmp_path / "target")


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "first byte": lambda value: flipped(value, 0),
    "middle": lambda value: flipped(value, len(value) // 2),
    "last byte": lambda value: flipped(value, len(value) - 1),
    "truncated": lambda value: value[: len(value) // 2],
    "empty": lambda _value: b"",
}
WAL = ("wal/postgres", "tail/postgres")
CODES = {  # its bytes are wrong; it is missed before anything is read by it; for WAL also because a witness misses it
    "packs": (4,),
    "lists": (5,),
    "wal": (4, 5),
    "tail": (4, 5),
}
WHAT_A_RESTORE_NEEDS = [  # the newest of a family; which volume needs it; which level names it
    ("packs/redis", "redis", "L1"),
    ("lists/redis", "redis", "L0"),
    ("packs/postgres", "postgres", "L1"),
    ("lists/postgres", "postgres", "L0"),
    ("wal/postgres", "postgres", "L1"),
    ("tail/postgres", "postgres", "L1"),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("family", "volume", "level"), WHAT_A_RESTORE_NEEDS)
def test_what_a_restore_needs_and_is_damaged_is_named_and_nothing_is_restored(
    rotten: Rotten, family: str, volume: str, level: str, change: str
) -> None:
    name = rotten.sound.newest(family)
    rotten.damage(name, CHANGES[change])
    assert name in rotten.verify(level)
    rotten.refuses(volume, *CODES[family.partition("/")[0]])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("family", WAL)
def test_the_newest_wal_that_is_damaged_is_missed_though_nobody_else_saw_it(
    rotten: Rotten, family: str, change: str
) -> None:
    for witness in rotten.sound.names("snap/redis"):
        (rotten.store / witness).unlink()
    name = rotten.sound.newest(family)
    rotten.damage(name, CHANGES[change])
    assert name in rotten.refuses("postgres", 4, 5)
    planned = rotten.drtool.restore("postgres", rotten.target, "--accept-loss", "--dry-run").value["restore"]
    assert planned["volume"] == "postgres"


@pytest.mark.parametrize("family", WAL)
def test_what_is_before_the_newest_wal_that_is_damaged_comes_back_where_that_loss_is_accepted(
    rotten: Rotten, family: str
) -> None:
    name = rotten.sound.newest(family)
    whole = rotten.drtool.restore("postgres", rotten.target, "--dry-run").value["restore"]
    rotten.damage(name, CHANGES["last byte"])
    target = (
        rotten.sound.system.scene.directory / f"before-{name.partition('/')[0]}"
    )  # PostgreSQL may enter it
    said = rotten.drtool.restore("postgres", target, "--accept-loss")
    restored = said.value["restore"]
    assert all(proof["ok"] for proof in restored["proofs"])
    assert parse_lsn(restored["facts"]["end_lsn"]) < parse_lsn(whole["facts"]["end_lsn"])
    assert f"{name}: its bytes are not those of its name: the WAL from there on is left out" in said.err


@pytest.mark.parametrize("family", WAL)
def test_who_misses_wal_for_it_is_damaged_is_told_of_the_level_that_reads_all_of_it(
    rotten: Rotten, family: str
) -> None:
    *_, other, name = rotten.sound.names(family)
    rotten.damage(name, CHANGES["empty"])
    rotten.damage(other, CHANGES["last byte"])
    error = rotten.drtool.restore("postgres", rotten.target, code=5).error
    assert f"is damaged: {name}" in error["message"]
    [level] = re.findall(r"`drtool verify --level (L\d)`", error["hint"])
    assert {name, other} <= rotten.verify(level)


def test_a_plan_tells_of_the_level_that_sees_what_is_damaged(rotten: Rotten, tmp_path: Path) -> None:
    name = rotten.sound.newest("packs/redis")
    rotten.damage(name, CHANGES["first byte"])
    refusals = plan_of(rotten, tmp_path, "redis")
    [hint] = [each["hint"] for each in refusals if name in each["message"]]
    [level] = re.findall(r"`drtool verify --level (L\d)`", hint)
    assert rotten.verify(level) == {name}


def test_wal_of_a_stranger_behind_the_end_is_no_damage(rotten: Rotten) -> None:
    span, end, _ = rotten.sound.newest("tail/postgres").rsplit("-", 2)
    junk = b"never signed"
    planted = f"{span.rpartition('.')[0]}.{end}-{int(end, 16) + 8:016X}-{hashlib.sha256(junk).hexdigest()}"
    (rotten.store / planted).write_bytes(junk)
    planned = rotten.drtool.restore("postgres", rotten.target, "--dry-run").value["restore"]
    assert planned["volume"] == "postgres"


@pytest.mark.parametrize("family", WAL)
def test_the_newest_wal_that_is_gone_is_missed_by_the_record_of_who_brought_it(
    rotten: Rotten, family: str
) -> None:
    for witness in rotten.sound.names("snap/redis"):
        (rotten.store / witness).unlink()
    (rotten.store / rotten.sound.newest(family)).unlink()
    said = rotten.refuses("postgres", 5)
    assert "but run runs/" in said
    assert "saw it durable up to" in said


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_record_that_is_damaged_is_named_and_restores_are_as_before(
    rotten: Rotten, change: str
) -> None:
    name = rotten.sound.newest("runs")
    rotten.damage(name, CHANGES[change])
    assert rotten.verify("L0") == {name}
    newest = rotten.sound.newest("snap/redis")
    assert rotten.restored_redis() == (newest, rotten.sound.keys[newest])


@pytest.mark.parametrize("change", CHANGES)
def test_a_snapshot_that_is_damaged_is_named_and_the_one_before_it_taken_only_where_that_is_accepted(
    rotten: Rotten, change: str
) -> None:
    earlier, newest = rotten.sound.names("snap/redis")
    rotten.damage(newest, CHANGES[change])
    assert newest in rotten.verify("L0")
    assert newest in rotten.refuses("redis", 5)
    assert rotten.restored_redis("--accept-loss") == (earlier, rotten.sound.keys[earlier])


@pytest.mark.parametrize("change", CHANGES)
def test_a_config_that_is_damaged_ends_everything(rotten: Rotten, change: str) -> None:
    name = rotten.sound.newest("config")
    rotten.damage(name, CHANGES[change])
    for arguments in (("verify",), ("points",), ("status",), ("backup",)):
        assert name in rotten.drtool(*arguments, code=4).error["message"]
    assert name in rotten.refuses("redis", 4)


@pytest.mark.parametrize(("family", "volume", "_level"), WHAT_A_RESTORE_NEEDS)
def test_what_a_restore_needs_and_is_gone_is_missed_and_nothing_is_restored(
    rotten: Rotten, family: str, volume: str, _level: str
) -> None:
    name = rotten.sound.newest(family)
    (rotten.store / name).unlink()
    if family in WAL:
        [base] = rotten.sound.names("snap/postgres")
        assert rotten.verify("L0") == {base}
        assert "saw it durable up to" in rotten.refuses(volume, 5)
    else:
        assert rotten.verify("L0") == {name, rotten.sound.newest(f"snap/{volume}")}
        assert name in rotten.refuses(volume, 5)


def plan_of(rotten: Rotten, directory: Path, volume: str) -> list[dict[str, str]]:
    """Return what speaks against a plan of volume into an empty cluster."""
    content = {**rotten.drtool.content, "kubernetes": {"namespace": "shop"}}
    with empty() as target:
        environment = {**rotten.drtool.environment, "KUBECONFIG": str(target.kubeconfig(directory))}
        drtool = replace(rotten.drtool, content=content, environment=environment).written()
        keys = {"DRTOOL_POLICY": str(drtool.policy), "DRTOOL_RECOVERY_KEY_FILE": str(drtool.kit)}
        said = run_plan({**environment, **keys}, volume, "--json", code=5)
    refusals: list[dict[str, str]] = said.value["plan"]["refusals"]
    return refusals


@pytest.mark.parametrize("family", WAL)
def test_a_plan_misses_the_wal_that_a_restore_misses(rotten: Rotten, tmp_path: Path, family: str) -> None:
    (rotten.store / rotten.sound.newest(family)).unlink()
    found = [each["message"] for each in plan_of(rotten, tmp_path, "postgres")]
    [_missed] = [each for each in found if "saw it durable up to" in each]
    assert len(found) == 3, (
        found
    )  # with a repository that no pod reaches, and a target that has no place for it


def test_a_hole_in_the_wal_is_missed_and_nothing_is_restored_unless_that_loss_is_accepted(
    rotten: Rotten,
) -> None:
    *_, middle, _newest = rotten.sound.names("wal/postgres")
    (rotten.store / middle).unlink()
    [base] = rotten.sound.names("snap/postgres")
    assert rotten.verify("L0") == {base}
    rotten.refuses("postgres", 5)
    planned = rotten.drtool.restore("postgres", rotten.target, "--accept-loss", "--dry-run").value["restore"]
    assert any("is not in the store" in note for note in planned["notes"])


def test_a_point_before_the_newest_that_is_gone_is_missed_and_the_newest_comes_back(rotten: Rotten) -> None:
    earlier, newest = rotten.sound.names("snap/redis")
    (rotten.store / earlier).unlink()
    assert rotten.verify("L0") == {newest}
    assert rotten.restored_redis() == (newest, rotten.sound.keys[newest])


@pytest.mark.parametrize(("family", "volume", "level"), WHAT_A_RESTORE_NEEDS)
def test_two_objects_with_each_others_bytes_are_both_named_and_nothing_is_restored(
    rotten: Rotten, family: str, volume: str, level: str
) -> None:
    name = rotten.sound.newest(family)
    other = next(each for each in rotten.sound.names(family.partition("/")[0]) if each != name)
    one, two = (rotten.store / name).read_bytes(), (rotten.store / other).read_bytes()
    rotten.damage(name, lambda _value: two)
    rotten.damage(other, lambda _value: one)
    assert {name, other} <= rotten.verify(level)
    rotten.refuses(volume, *CODES[family.partition("/")[0]])


def test_what_is_sound_has_no_fault_at_any_level(sound: Sound) -> None:
    for level in ("L0", "L1"):
        sound.drtool("verify", "--level", level)
    sound.drtool.operator("verify", "--level", "L2")


@pytest.mark.parametrize(("family", "_volume", "_level"), WHAT_A_RESTORE_NEEDS)
def test_opening_every_chunk_names_what_is_damaged(
    rotten: Rotten, family: str, _volume: str, _level: str
) -> None:
    name = rotten.sound.newest(family)
    rotten.damage(name, CHANGES["middle"])
    assert name in rotten.verify("L2")
