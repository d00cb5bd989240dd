"""Tablespaces that come back: where each goes is said, and what is no tablespace is told by those that there are."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import pytest

from drtool.demo.servers.postgres import PostgresServer, private_directory
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.scene import Scene, play
from tests.scenarios.test_unfinished import restoring, slow_programs


@dataclass(frozen=True)
class Spaced:
    """A server with two tablespaces, one of them made after its base backup, and the commands over it."""

    scene: Scene
    drtool: Commands
    oids: dict[str, str]
    places: dict[str, Path]

    def lines(self, verb: str, target: Path) -> list[str]:
        """Return what is said of the one that the base backup has."""
        oid, was = self.oids["first"], self.places["first"]
        return [f"tablespace {oid}, which was in {was}, {verb} {target}-tablespaces/{oid}"]


@pytest.fixture(scope="module")
def spaced(s3_server: S3Server) -> Iterator[Spaced]:
    with play(18, "6.2", s3_server.at(s3_server.plain)) as scene:
        drtool = Commands.over(scene, s3_repository(s3_server.at(s3_server.versioned)), "spaced")
        drtool.init()
        places = {name: private_directory(name) for name in ("first", "later")}
        make(scene.postgres, "first", places["first"])
        drtool("backup", "postgres")
        make(scene.postgres, "later", places["later"])
        drtool("wal", "catch-up")
        oids = {
            str(name): str(oid) for name, oid in scene.postgres.sql("select spcname, oid from pg_tablespace")
        }
        scene.postgres.kill()
        for (
            place
        ) in places.values():  # as on another machine: PostgreSQL makes the later one at its old place again
            rmtree(place)
        places["later"] = private_directory("later").rename(places["later"])
        yield Spaced(scene, drtool, oids, places)
        rmtree(places["later"])


def make(server: PostgresServer, name: str, place: Path) -> None:
    server.sql(f"create tablespace {name} location '{place}'")
    server.sql(f"create table of_{name} tablespace {name} as select generate_series(1, 1000) as id")


@pytest.fixture
def target(spaced: Spaced) -> Iterator[Path]:
    parent = spaced.scene.directory / "restores"
    parent.mkdir()
    parent.chmod(0o755)
    yield parent / "data"
    rmtree(parent)
    for each in spaced.places["later"].iterdir():
        rmtree(each)


def test_where_each_goes_is_said_before_and_afterwards(spaced: Spaced, target: Path) -> None:
    bin_dir = ("--bin-dir", spaced.scene.postgres.bin_dir)
    planned = spaced.drtool.restore("postgres", target, *bin_dir, "--dry-run").value["restore"]
    made = f"tablespace {spaced.oids['later']}, which the WAL makes,"
    told = [note for note in planned["notes"] if "tablespace" in note]
    assert told == [*spaced.lines("goes to", target), f"{made} goes to {spaced.places['later']}"]
    restored = spaced.drtool.restore("postgres", target, *bin_dir).value["restore"]
    later = f"{made} is in {spaced.places['later']}"
    told = [note for note in restored["notes"] if "tablespace" in note]
    assert told == [*spaced.lines("is in", target), later]
    first = {"oid": spaced.oids["first"], "was": str(spaced.places["first"])}
    first |= {"directory": f"{target}-tablespaces/{spaced.oids['first']}"}
    assert planned["facts"]["tablespaces"] == restored["facts"]["tablespaces"]
    assert restored["facts"]["tablespaces"][0] == first
    assert list(Path(first["directory"]).iterdir())


def test_what_is_no_tablespace_is_told_by_those_that_there_are(spaced: Spaced, target: Path) -> None:
    moved = ("--tablespace", f"fast={target}-fast")
    for how in ([], ["--dry-run"]):
        said = spaced.drtool.restore("postgres", target, *moved, *how, code=5).error
        assert said["message"] == "the point has no tablespace fast"
        has = (
            f"It has {spaced.oids['first']} in {spaced.places['first']}: name one by its number or its place"
        )
        assert said["hint"].startswith(has)
        assert not target.exists()


def test_who_is_told_to_end_takes_back_the_tablespaces_too(spaced: Spaced, target: Path) -> None:
    with (
        slow_programs(spaced.scene) as slow,
        restoring(spaced.drtool, "postgres", target, "--bin-dir", slow.programs) as process,
    ):
        slow.wait()
        assert list(target.with_name("data-tablespaces").iterdir())
        process.send_signal(signal.SIGTERM)
        assert spaced.drtool.end(process).code == 143
    assert list(target.parent.iterdir()) == []
    assert list(spaced.places["later"].iterdir()) == []
