"""kill -9 at every call to the store of a backup of both volumes: listed points restore byte for byte after each."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drtool.operations.backup import run_backup
from drtool.operations.points import list_points
from drtool.operations.session import Session
from drtool.repository.format.pack import CONTENT
from drtool.repository.lists import read_list
from drtool.repository.reader import Reader
from drtool.repository.records import Record, Unreadable
from drtool.repository.snapshot import Snapshot, read_parts, read_snapshots
from drtool.repository.storage.base import ObjectStore
from tests.conftest import S3Server
from tests.scenarios.scene import Scene, play

KILLED = -9
LEFTOVERS = 10  # dead runs whose leavings pile up before they are cleared


class Deaths:
    """The process that forks backups which die, and the oracle that they leave behind."""

    def __init__(self, scene: Scene) -> None:
        self.oracle = scene.directory / "oracle"
        self.oracle.mkdir(exist_ok=True)
        arguments = [scene.policy, scene.bundle, self.oracle]
        environment = {**os.environ, **scene.environment}
        environment.pop("COVERAGE_PROCESS_CONFIG", None)  # who is killed leaves no data of its coverage
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.crash_child", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def back_up(self, die_at: int = 0) -> tuple[int, int]:
        """Run a backup that dies at a call; return how it ended, and its calls (0 when it died)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{die_at}\n")
        self._process.stdin.flush()
        ended, calls = self._process.stdout.readline().split()
        return int(ended), int(calls) if calls != "-" else 0

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def scene(s3_server: S3Server) -> Iterator[Scene]:
    with play(18, "6.2", s3_server.at(s3_server.plain), wal_segment_mb=1) as scene:
        scene.postgres.sql(
            "create table posts as select g as id, md5(g::text) as text from generate_series(1, 20000) g"
        )
        with scene.redis.connect() as connection:
            for number in range(200):
                connection.call("SET", f"key:{number}", "value" * number)
        yield scene


@pytest.fixture
def fresh_scene(s3_server: S3Server) -> Iterator[Scene]:
    """A scene without the hundreds of points that the sweep leaves."""
    with play(18, "6.2", s3_server.at(s3_server.plain)) as scene:
        yield scene


@contextmanager
def deaths_in(scene: Scene) -> Iterator[Deaths]:
    deaths = Deaths(scene)
    try:
        yield deaths
    finally:
        deaths.close()


def assert_listed_points_are_whole(operator: Session, oracle: Path, known: set[str]) -> int:
    """Read every point that is listed and not known to be whole yet; add it to known. Return how many are listed."""
    listed = [point for point in list_points(operator) if point.state == "listed"]
    reader = Reader(operator.repository)
    for point in listed:
        if point.name in known:
            continue
        snapshots = read_snapshots(operator.repository.records, point.volume)
        snapshot = next(each for each in snapshots if each.name == point.name)
        assert not isinstance(snapshot, Unreadable)
        contents = reader.read_contents(snapshot)
        reader.check(snapshot, contents)
        found = {entry.path: bytearray(entry.size) for entry in contents.entries}

        def take(path: str, offset: int, data: bytes, found: dict[str, bytearray] = found) -> None:
            found[path][offset : offset + len(data)] = data

        reader.read(snapshot, contents, take)
        expected = json.loads((oracle / snapshot.run).read_text())
        assert {path: hashlib.sha256(data).hexdigest() for path, data in found.items()} == expected
        known.add(point.name)
    return len(listed)


def test_points_restore_byte_equal_after_a_kill_at_every_call_to_the_store(scene: Scene) -> None:
    with deaths_in(scene) as deaths:
        ended, calls = deaths.back_up()
        assert ended == 0
        operator, known = scene.as_operator(), set[str]()
        before = assert_listed_points_are_whole(operator, deaths.oracle, known)
        assert before == 2
        store = operator.repository.store
        assert len(list(store.list("packs/postgres/"))) >= 3
        assert list(store.list("tail/postgres/"))
        assert list(store.list("part/postgres/"))
        kept = stored_names(store)
        for at in range(1, calls * 2):
            scene.postgres.sql("update posts set text = md5(text) where id %% 1000 = %s", at)
            scene.postgres.sql("select pg_switch_wal()")
            ended, _ = deaths.back_up(die_at=at)
            assert ended in (KILLED, 0)
            now = assert_listed_points_are_whole(operator, deaths.oracle, known)
            assert now >= before
            before = now
            if ended == 0:
                break
            if at % LEFTOVERS == 0:
                before = forget(operator, kept)
        else:
            pytest.fail("no backup lived long enough to end")
        assert at > calls / 2


def stored_names(store: ObjectStore) -> set[str]:
    """Return the names of all objects, but those of WAL, which the server has dropped on our word."""
    return {
        found.name
        for family in ("snap", "part", "packs", "lists", "runs")
        for found in store.list(f"{family}/")
    }


def forget(operator: Session, kept: set[str]) -> int:
    """Delete what dead runs left, for else every run has more to read than the last; return the points listed."""
    store = operator.repository.store
    for name in stored_names(store) - kept:
        store.delete(name)
    return len([point for point in list_points(operator) if point.state == "listed"])


def test_the_next_run_does_not_upload_what_a_dead_runs_part_names(fresh_scene: Scene) -> None:
    scene = fresh_scene
    scene.postgres.sql(
        "create table fresh as select g as id, gen_random_uuid() as u from generate_series(1, 100000) g"
    )
    with deaths_in(scene) as deaths:
        part = _die_behind_a_part(scene, deaths)
    named = _plain_bytes_of_run(scene, part.value["content"], part.value["run"])
    assert named > 1024 * 1024
    [after] = run_backup(scene.as_writer(), ["postgres"])
    assert after.outcome == "done", after.error
    snapshots = read_snapshots(scene.as_operator().repository.records, "postgres")
    [snapshot] = [each for each in snapshots if isinstance(each, Snapshot)]
    assert _plain_bytes_of_run(scene, snapshot.streams.content, part.value["run"]) >= 0.9 * named
    assert after.read - after.reused < after.read - 0.9 * named


def _die_behind_a_part(scene: Scene, deaths: Deaths) -> Record:
    """Kill backups at later and later calls until one has left a part, and return that."""
    for at in range(8, 200, 3):
        ended, _ = deaths.back_up(die_at=at)
        assert ended == KILLED
        if parts := read_parts(scene.as_operator().repository.records, "postgres", None):
            return parts[0]
    pytest.fail("no run left a part behind")


def _plain_bytes_of_run(scene: Scene, lists: Iterable[str], run: str) -> int:
    """Return how many bytes of content the lists refer to in packs of a run."""
    records = scene.as_operator().repository.records
    places = (place for name in lists for place in read_list(records, name))
    return sum(place.plain_size for place in places if place.pack.run.hex() == run and place.kind == CONTENT)
