"""Restores that are ended half-way: one that is told to end takes back what it wrote, one that is killed is told of."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from drtool.demo.servers.process import wait_until
from drtool.operations.stage_postgres import LOOKED_AT
from tests.faults.proxy import Answer, FaultProxy, error
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.conftest import System
from tests.scenarios.files import Files, make_files
from tests.scenarios.scene import Scene

END_S = 60
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]

_HELD = """\
#!/bin/sh
case "$*" in
    *config_file=*) exec {postgres} "$@" -c restore_command='touch {room}/recovers; {wait}; exit 255'
esac
exec {postgres} "$@"
"""
_WAIT = "while [ -e {room} ]; do sleep 0.05; done"


@dataclass(frozen=True)
class Slow:
    """Programs of PostgreSQL whose recovery waits for its first WAL as long as room is there."""

    programs: Path
    room: Path

    def wait(self) -> None:
        wait_until((self.room / "recovers").exists, "the server recovers", deadline_s=END_S)


@contextmanager
def slow_programs(scene: Scene) -> Iterator[Slow]:
    """Make the programs of a scene's PostgreSQL slow, and let what waits for them end."""
    programs, room = scene.directory / "slow", scene.directory / "room"
    for each in (programs, room):
        each.mkdir()
        each.chmod(0o777)
    for program in scene.postgres.bin_dir.iterdir():
        (programs / program.name).symlink_to(program)
    (programs / "postgres").unlink()
    postgres = scene.postgres.bin_dir / "postgres"
    script = _HELD.format(postgres=postgres, room=room, wait=_WAIT.format(room=room))
    (programs / "postgres").write_text(script)
    (programs / "postgres").chmod(0o755)
    yield Slow(programs, room)
    shutil.rmtree(room)
    shutil.rmtree(programs)


@pytest.fixture
def slow(system: System) -> Iterator[Slow]:
    with slow_programs(system.scene) as slow:
        yield slow


@pytest.fixture
def parent(system: System) -> Iterator[Path]:
    """A folder in which restores take place."""
    parent = system.scene.directory / "restores"
    parent.mkdir()
    parent.chmod(0o755)
    yield parent
    shutil.rmtree(parent)


@contextmanager
def restoring(
    drtool: Commands, volume: str, target: Path, *arguments: object
) -> Iterator[subprocess.Popen[str]]:
    """Run a restore in a process of its own, which is gone afterwards."""
    process = drtool.start_restore(volume, target, *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def do(hint: str) -> None:
    """Do what a hint says: run its statements as they stand there."""
    statements = re.findall("`([^`]+)`", hint)
    assert statements, hint
    for each in statements:
        subprocess.run(["/bin/sh", "-ec", each], check=True)


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
@pytest.mark.parametrize("target_is", ["empty", "new"])
def test_a_recovery_that_is_told_to_end_takes_back_what_it_wrote_and_can_be_run_again(
    system: System, slow: Slow, parent: Path, signum: signal.Signals, code: int, target_is: str
) -> None:
    target = parent / "below" / "data"
    if target_is == "empty":
        target.mkdir(parents=True, mode=0o750)
    before = [(path, path.stat().st_mode, path.stat().st_uid) for path in parent.rglob("*")]
    with restoring(system.drtool, "postgres", target, "--bin-dir", slow.programs) as process:
        slow.wait()
        process.send_signal(signum)
        said = system.drtool.end(process)
    assert said.code == code
    assert "run it again" in said.error["hint"]
    assert [(path, path.stat().st_mode, path.stat().st_uid) for path in parent.rglob("*")] == before
    system.drtool.restore("postgres", target, "--bin-dir", system.scene.postgres.bin_dir)
    assert (target / "PG_VERSION").exists()
    assert names(target.parent) == ["data"]


def test_who_is_told_to_end_leaves_what_somebody_else_put_into_the_directory(
    system: System, slow: Slow, parent: Path
) -> None:
    target = parent / "data"
    with restoring(system.drtool, "postgres", target, "--bin-dir", slow.programs) as process:
        slow.wait()
        (target / "mine").write_text("precious")
        process.send_signal(signal.SIGINT)
        said = system.drtool.end(process)
    assert [path.read_text() for path in target.iterdir()] == ["precious"]
    assert f"{target} keeps mine" in " ".join(said.err.split())
    again = system.drtool.restore("postgres", target, code=5).error
    assert again["message"] == f"{target} is not empty: it holds mine"


def test_a_recovery_that_was_killed_is_told_by_its_point_and_the_way_on_is_true(
    system: System, slow: Slow, parent: Path
) -> None:
    target = parent / "data"
    point = system.drtool.restore("postgres", target, "--dry-run").value["restore"]["point"]
    with restoring(system.drtool, "postgres", target, "--bin-dir", slow.programs) as process:
        slow.wait()
        at_work = system.drtool.restore("postgres", target, code=5).error
        process.kill()
        process.wait()
    assert at_work["message"].startswith(f"another restore is at work in {target}: of {point}, since ")
    assert "`" not in at_work["hint"]

    lines = (target / "postmaster.pid").read_text().splitlines()
    server, sockets = int(lines[0]), Path(lines[4])
    runs = system.drtool.restore("postgres", target, code=5).error
    assert runs["message"].startswith(f"{target} holds a restore of {point} that did not end: begun ")
    assert f"process {server}" in runs["hint"]
    os.kill(server, signal.SIGINT)
    wait_until(lambda: not (target / "postmaster.pid").exists(), "the server has ended", deadline_s=END_S)

    left = system.drtool.restore("postgres", target, code=5).error
    assert left["message"].startswith(f"{target} holds a restore of {point} that did not end: begun ")
    do(left["hint"])
    assert sockets.exists()
    system.drtool.restore("postgres", target, "--bin-dir", system.scene.postgres.bin_dir)
    assert names(parent) == ["data"]
    assert not sockets.exists()


def test_the_wal_that_a_killed_dry_run_read_is_cleared_away(
    system: System, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(parent))
    killed = (
        "import os, sys, tempfile; from drtool.sources.scratch import ScratchFolder\n"
        "tempfile.tempdir, prefix = sys.argv[1:]\n"
        "folder = ScratchFolder(prefix)\n"
        "(folder.path / 'staged').mkdir()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", killed, parent, LOOKED_AT], check=False)
    assert len(names(parent)) == 1
    system.drtool.restore("postgres", parent / "data", "--dry-run")
    assert names(parent) == []


def test_a_restore_that_is_told_to_end_amid_a_query_tells_that_alone(system: System, parent: Path) -> None:
    """psycopg would say above it what it could not roll back."""
    target, database = parent / "data", system.scene.postgres
    proof = {"name": "takes its time", "sql": "select pg_sleep(600)::text", "equals": ""}
    drtool = system.drtool.but("postgres", proofs=[proof])

    def is_asked() -> bool:
        lines = target / "postmaster.pid"
        if not lines.exists() or len(told := lines.read_text().splitlines()) < 8 or "ready" not in told[7]:
            return False
        query = "select from pg_stat_activity where query like 'select pg_sleep%'"
        with psycopg.connect(host=told[4], user="postgres", dbname="postgres") as connection:
            return connection.execute(query).rowcount == 1

    with restoring(
        drtool, "postgres", target, "--bin-dir", database.bin_dir, "--progress", "none"
    ) as process:
        wait_until(is_asked, "the proof's query runs", deadline_s=END_S)
        process.send_signal(signal.SIGTERM)
        said = drtool.end(process)
    assert (said.code, said.error["message"]) == (143, "terminated")
    assert said.err.splitlines() == ["error: terminated", f"hint: {said.error['hint']}"]


@pytest.fixture
def slow_store(system: System) -> Iterator[FaultProxy]:
    """The proxy to the store; afterwards it lets everything through."""
    yield system.proxy
    system.proxy.clear()


@pytest.fixture
def media(system: System, tmp_path: Path) -> Files:
    """A volume of files, whose store is behind the proxy; backed up."""
    repository = s3_repository(system.s3, system.proxy.endpoint) | {"url": f"s3://plain/{tmp_path.name}"}
    media = make_files(tmp_path, repository, **system.drtool.environment)
    media.backup()
    return media


@dataclass(frozen=True)
class Held:
    """A restore of a volume that waits for the store once it has begun to write, and what was there before."""

    drtool: Commands
    volume: str
    proxy: FaultProxy
    fresh: list[str]

    @contextmanager
    def restoring(self, target: Path) -> Iterator[subprocess.Popen[str]]:
        asked = len(self.proxy.requests)
        self.drtool.restore(self.volume, target, "--dry-run")
        before = sum("/packs/" in path for _, path in self.proxy.requests[asked:])
        self.proxy.inject(Answer(503, error("ServiceUnavailable")), times=None, when="/packs/", after=before)
        with restoring(self.drtool, self.volume, target) as process:
            wait_until(lambda: names(target) != self.fresh, "it writes", deadline_s=END_S)
            yield process
        self.proxy.clear()


@pytest.fixture(params=["redis", "media"])
def held(system: System, slow_store: FaultProxy, request: pytest.FixtureRequest) -> Held:
    if request.param == "redis":
        return Held(system.proxied, "redis", slow_store, [])
    return Held(request.getfixturevalue("media").drtool, "media", slow_store, ["lost+found"])


@pytest.mark.parametrize(("signum", "code"), [*SIGNALS, (signal.SIGKILL, -9)])
def test_what_writes_files_takes_them_back_or_is_told_by_its_point(
    held: Held, parent: Path, signum: signal.Signals, code: int
) -> None:
    target = parent / "data"
    target.mkdir()
    for each in held.fresh:
        (target / each).mkdir()
    with held.restoring(target) as process:
        process.send_signal(signum)
        process.communicate(timeout=END_S)
    assert process.returncode == code
    if signum == signal.SIGKILL:
        point = max(each["name"] for each in held.drtool("points", held.volume).value["points"])
        left = held.drtool.restore(held.volume, target, code=5).error
        assert left["message"].startswith(f"{target} holds a restore of {point} that did not end: begun ")
        do(left["hint"])
    assert names(parent) in (["data"], ["data", "data.drtool-restore"])
    assert names(target) == held.fresh
    held.drtool.restore(held.volume, target)
    assert names(parent) == ["data"]
