"""kill -9 at every call to the store of a backup of both volumes: listed points restore byte for byte after each."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drtool.operations.backup import run_backup
from drtool.operations.points import list_points
from drtool.operations.session import Session
from drtool.repository.reader import Reader
from drtool.repository.records import Unreadable
from drtool.repository.snapshot import read_parts, read_snapshots
from tests.conftest import S3Server
from tests.scenarios.scene import Scene, play

KILLED = -9


class Deaths:
    """The process that forks backups which die, and the oracle that they leave behind."""

    def __init__(self, scene: Scene) -> None:
        self.oracle = scene.directory / "oracle"
        self.oracle.mkdir(exist_ok=True)
        arguments = [scene.policy, scene.bundle, self.oracle]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.crash_child", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **scene.environment},
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
    with play(18, "6.2", s3_server.at(s3_server.plain)) as scene:
        scene.postgres.sql(
            "create table posts as select g as id, md5(g::text) as text from generate_series(1, 20000) g"
        )
        with scene.redis.connect() as connection:
            for number in range(200):
                connection.call("SET", f"key:{number}", "value" * number)
        yield scene


@pytest.fixture
def deaths(scene: Scene, tmp_path: Path) -> Iterator[Deaths]:
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


def test_points_restore_byte_equal_after_a_kill_at_every_call_to_the_store(
    scene: Scene, deaths: Deaths
) -> None:
    ended, calls = deaths.back_up()
    assert ended == 0
    operator, known = scene.as_operator(), set[str]()
    before = assert_listed_points_are_whole(operator, deaths.oracle, known)
    assert before == 2
    records = operator.repository.records
    assert len(list(records.store.list("packs/postgres/"))) >= 3
    assert list(records.store.list("tail/postgres/"))
    assert list(records.store.list("part/postgres/"))
    died = 0
    for at in range(1, calls * 2):
        scene.postgres.sql(
            "update posts set text = md5(text) where id between %s and %s", at * 50, at * 50 + 20
        )
        scene.postgres.sql("select pg_switch_wal()")
        ended, _ = deaths.back_up(die_at=at)
        assert ended in (KILLED, 0)
        now = assert_listed_points_are_whole(operator, deaths.oracle, known)
        assert now >= before
        before = now
        if ended == 0:
            break
        died += 1
    assert died >= calls // 2
    print(f"{calls} calls in a whole run, killed at {died}, {before} points listed at the end")


def test_the_next_run_does_not_upload_what_a_dead_runs_part_names(scene: Scene, deaths: Deaths) -> None:
    scene.postgres.sql(
        "create table fresh as select g as id, gen_random_uuid() as u from generate_series(1, 100000) g"
    )
    writer = scene.as_writer()
    [whole] = run_backup(writer, ["postgres"])
    assert whole.outcome == "done"
    scene.postgres.sql("update fresh set u = gen_random_uuid()")
    scene.postgres.sql("checkpoint")
    died_at, part_bytes = _die_behind_a_part(scene, deaths)
    assert part_bytes > 0, died_at
    [after] = run_backup(scene.as_writer(), ["postgres"])
    assert after.outcome == "done"
    again = run_backup(scene.as_writer(), ["postgres"])[0]
    assert again.stored < part_bytes / 2
    assert after.reused >= part_bytes


def _die_behind_a_part(scene: Scene, deaths: Deaths) -> tuple[int, int]:
    """Kill backups at later and later calls until one has left a part; return the call, and the part's plain bytes."""
    records = scene.as_operator().repository.records
    parts = {part.name for part in read_parts(records, "postgres", None)}
    for at in range(12, 200, 2):
        ended, _ = deaths.back_up(die_at=at)
        assert ended == KILLED
        fresh = [part for part in read_parts(records, "postgres", None) if part.name not in parts]
        if fresh:
            from drtool.repository.lists import read_list

            own = [
                place.plain_size
                for name in fresh[0].value["content"]
                for place in read_list(records, name)
                if place.pack.run.hex() == fresh[0].value["run"] and place.kind == 1
            ]
            return at, sum(own)
    return 0, 0
