"""A mover brings a granted volume into a claim; the servers of databases run through the hands."""

import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from drtool.cli.main import drtool
from drtool.demo.servers.postgres import account, give, private_directory
from drtool.demo.servers.process import free_port
from drtool.demo.servers.redis import RedisServer
from drtool.deploy.hands import agent_command
from drtool.errors import TemporaryFailure
from drtool.operations.mover import wait_for_hands
from drtool.operations.mover_progress import from_line
from drtool.operations.session import Silent, World
from drtool.sources.redis.info import Info
from tests.cluster.process import wait_until
from tests.scenarios.commands import Said
from tests.scenarios.conftest import System
from tests.scenarios.files import Files
from tests.scenarios.test_grants import Runner, granted, rows, runner_of
from tests.sources.files.trees import look


def popen_user() -> dict[str, Any]:
    """Return whom a pod of PostgreSQL would run as: its account, where we are root."""
    name = account()
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@dataclass
class Pod:
    """A claim, and what a pod with it has: a runner's key, a grant, and maybe the hands."""

    root: Path
    runner: Runner
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def claim(self) -> Path:
        return self.root / "claim"

    def reach_out(self, *programs: Path) -> Path:
        """Start the hands of a container with programs in these folders."""
        folder = self.root / "hands"
        path = ":".join([*map(str, programs), os.defpath])
        command = agent_command(str(folder))
        self.agents.append(
            subprocess.Popen(command, env={"PATH": path}, start_new_session=True, **popen_user())
        )
        return folder

    def begin(self, volume: str, *arguments: object, run: str = "r1") -> int:
        """Start a mover, as PostgreSQL's account; return its process. Python may be closed to that account, so fork."""
        grant = self.runner.folder / "grant"
        for place in (self.runner.folder, self.claim):
            give(place)
        environment = self.runner.drtool.environment
        given = ("--claim", self.claim, "--run", run, "--grant", grant, "--runner-key-file", self.runner.key)
        command = ["mover", "restore", volume, *given, *self.runner.where, *arguments]
        pid = os.fork()
        if pid:
            return pid
        code = 99
        try:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ |= {
                "AWS_ACCESS_KEY_ID": environment["SCENE_ACCESS_KEY"],
                "AWS_SECRET_ACCESS_KEY": environment["SCENE_SECRET_KEY"],
            }
            become(account())
            drtool.main([*map(str, command)], prog_name="drtool")
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def restore(self, volume: str, *arguments: object, run: str = "r1", code: int = 0) -> Any:
        """Run a mover to its end; return the result, or what it said on stderr."""
        pid = self.begin(volume, *arguments, run=run)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out, err = (self.root / "out").read_text(), (self.root / "err").read_text()
        assert ended == code, out + err
        return err if code else json.loads(out.splitlines()[-1])["restore"]

    def close(self) -> None:
        for each in self.agents:
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()
        rmtree(self.root)


def become(name: str | None) -> None:
    if name is not None:
        user = pwd.getpwnam(name)
        os.setgroups([])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


def pod_of(runner: Runner, root: Path) -> Pod:
    pod = Pod(root, runner)
    pod.claim.mkdir()
    give(root)
    return pod


@pytest.fixture
def pod(system: System) -> Iterator[Pod]:
    made = pod_of(runner_of(system.drtool, system.scene.directory / "mover"), private_directory("mover"))
    made.runner.make("--recovery-key-file", system.drtool.kit)
    yield made
    made.close()
    rmtree(made.runner.folder)


def test_postgresql_comes_back_through_the_hands_after_a_mover_that_was_killed(
    system: System, pod: Pod
) -> None:
    granted(pod.runner, "postgres")
    hands = pod.reach_out(Path(system.scene.postgres.bin_dir))
    arguments = ("--path", "sub/pgdata", "--hands", hands)
    first = pod.begin("postgres", *arguments)
    wait_until((pod.claim / ".drtool-r1-postgres/data").exists, "the mover writes", deadline_s=60)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)

    other = pod.restore("postgres", *arguments, run="r2", code=5)
    assert "holds .drtool-r1-postgres: another run did not end there" in other
    result = pod.restore("postgres", *arguments)

    assert {proof["name"] for proof in result["proofs"]} >= {"pg_verifybackup", "pg_checksums"}
    assert all(proof["ok"] for proof in result["proofs"])
    moved = [found for line in (pod.root / "err").read_text().splitlines() if (found := from_line(line))]
    assert [each.size for each in moved] == sorted(each.size for each in moved)
    assert moved[0].size == 0
    assert moved[-1].size >= result["size"] > 0
    assert result["directory"] == str(pod.claim / "sub/pgdata")
    assert pod.restore("postgres", *arguments) == result  # its log was lost
    assert "another run did not end there" in pod.restore("postgres", *arguments, run="r2", code=5)
    settle(pod, "postgres")
    assert [each.name for each in pod.claim.iterdir()] == ["sub"]
    assert rows(system, pod.claim / "sub/pgdata") == 500
    again = pod.restore("postgres", *arguments, code=5)
    assert "is not empty" in again


def test_redis_comes_back_through_the_hands_into_the_root_of_a_claim(system: System, pod: Pod) -> None:
    granted(pod.runner, "redis")
    (pod.claim / "lost+found").mkdir()
    hands = pod.reach_out(system.scene.redis.program.parent)
    result = pod.restore("redis", "--hands", hands)
    assert all(proof["ok"] for proof in result["proofs"])
    assert {each.name for each in pod.claim.iterdir()} >= {"dump.rdb", "lost+found"}
    assert pod.restore("redis", "--hands", hands) == result
    settle(pod, "redis")
    assert not (pod.claim / ".drtool-r1-redis").exists()


def test_redis_comes_back_into_a_server_that_runs_and_is_only_proven_by_a_second_mover(
    system: System, pod: Pod, tmp_path: Path
) -> None:
    granted(pod.runner, "redis")
    hands = pod.reach_out(system.scene.redis.program.parent)
    server = RedisServer.create(system.scene.redis.program, tmp_path / "server")
    server.start()
    try:
        said = {"name": "redis", "source": "redis", "host": "127.0.0.1", "port": server.port}
        arguments = ("--path", "data", "--hands", hands, "--into", json.dumps(said), "--port", free_port())
        for run in ("r1", "r2"):
            result = pod.restore("redis", *arguments, run=run)
            names = {proof["name"] for proof in result["proofs"] if proof["ok"]}
            assert len(names) == len(result["proofs"])
            assert "keys of the running server, in the server that runs" in names
            rmtree(pod.claim / "data")
        with server.connect() as connection:
            held = Info.of(connection)
            assert (held.text("role"), sum(held.keys().values()) > 0) == ("master", True)
            connection.call("FLUSHALL")
            connection.call("SET", "of another", "1")
        assert "holds other data" in pod.restore("redis", *arguments, run="r3", code=5)
        assert "no volume of Redis" in pod.restore("redis", *arguments, "--into", "{}", run="r4", code=2)
    finally:
        server.kill()


@pytest.fixture
def files_pod(kept: Files, tmp_path: Path) -> Iterator[Pod]:
    """A mover of files, which may run in this process: it takes no other user."""
    kept.backup()
    runner = runner_of(kept.drtool, tmp_path / "mover")
    runner.make("--bundle", kept.drtool.bundle)
    granted(runner, "media")
    made = Pod(tmp_path / "pod", runner)
    made.claim.mkdir(parents=True)
    yield made
    made.close()


def move_here(pod: Pod, *arguments: object, run: str = "r1", code: int = 0) -> Said:
    keys = ("--grant", pod.runner.folder / "grant", "--runner-key-file", pod.runner.key)
    given = ("--claim", pod.claim, "--run", run, *keys, *pod.runner.where, *arguments)
    return pod.runner.drtool.alone("mover", "restore", "media", *given, code=code)


def settle(pod: Pod, volume: str, code: int = 0) -> Said:
    return pod.runner.drtool.alone("mover", "settle", volume, "--claim", pod.claim, "--run", "r1", code=code)


def test_files_come_back_into_the_root_of_a_claim_with_its_owner_and_mode(
    kept: Files, files_pod: Pod
) -> None:
    kept.tree.chmod(0o751)
    kept.backup()
    granted(files_pod.runner, "media")
    said = move_here(files_pod)
    result = json.loads(said.out.splitlines()[-1])["restore"]
    assert result["directory"] == str(files_pod.claim)
    assert all(proof["ok"] for proof in result["proofs"])
    settle(files_pod, "media")
    assert look(files_pod.claim) == look(kept.tree)
    settle(files_pod, "media")
    assert look(files_pod.claim) == look(kept.tree)
    assert "is not empty: it holds" in move_here(files_pod, code=5).error["message"]
    assert look(files_pod.claim) == look(kept.tree)


def test_files_come_back_into_a_folder_of_a_claim_beside_what_is_there(kept: Files, files_pod: Pod) -> None:
    (files_pod.claim / "other").write_text("theirs")
    (files_pod.claim / "sub").mkdir()
    first = move_here(files_pod, "--path", "sub")
    assert move_here(files_pod, "--path", "sub").out == first.out
    assert look(files_pod.claim / "sub") == look(kept.tree)
    assert (files_pod.claim / "other").read_text() == "theirs"


def test_what_a_killed_mover_left_is_removed_and_nothing_else(kept: Files, files_pod: Pod) -> None:
    left = files_pod.claim / ".drtool-r1-media"
    (left / "data/folder").mkdir(parents=True)
    (files_pod.claim / "lost+found").mkdir()
    (files_pod.claim / "half").mkdir()
    (files_pod.claim / "file").write_text("half")
    said = move_here(files_pod)
    assert "it begins anew" in said.err
    settle(files_pod, "media")
    (files_pod.claim / "lost+found").rmdir()  # which changes when the root was written
    assert {**look(files_pod.claim), ".": {}} == {**look(kept.tree), ".": {}}


def test_a_mover_without_its_claim_or_its_hands_says_so(files_pod: Pod, tmp_path: Path) -> None:
    files_pod.claim.rmdir()
    assert "is no directory" in move_here(files_pod, code=5).error["message"]
    files_pod.claim.mkdir()
    world = World(lambda: datetime.now(UTC), {}, Silent())
    world.ending.set()
    with pytest.raises(TemporaryFailure, match="did not put them into"):
        wait_for_hands(tmp_path / "hands", world)


def test_two_volumes_of_one_run_leave_each_others_work_in_one_claim_alone(
    kept: Files, files_pod: Pod
) -> None:
    beside = files_pod.claim / ".drtool-r1-database/data"
    beside.mkdir(parents=True)
    (files_pod.claim / ".drtool-r1-media/data").mkdir(parents=True)
    move_here(files_pod, "--path", "sub")
    assert look(files_pod.claim / "sub") == look(kept.tree)
    settle(files_pod, "media")
    assert [each.name for each in files_pod.claim.glob(".drtool-*")] == [".drtool-r1-database"]
    assert beside.is_dir()


@pytest.mark.parametrize("path", ["", "sub"])
def test_what_was_put_in_place_is_taken_for_the_runs_own_only_as_long_as_nobody_touched_it(
    files_pod: Pod, path: str
) -> None:
    place = ("--path", path)
    first = move_here(files_pod, *place)
    said = move_here(files_pod, *place)
    assert "this run has put the data in place before" in said.err
    assert said.out == first.out
    (files_pod.claim / path / "added").write_text("by whomever")
    error = move_here(files_pod, *place, code=5).error
    assert "was changed since this run put its data there" in error["message"]
    (files_pod.claim / path / "added").unlink()
    assert move_here(files_pod, *place).out == first.out


def test_a_mark_of_another_point_is_nobodys(files_pod: Pod) -> None:
    move_here(files_pod)
    mark = files_pod.claim / ".drtool-r1-media/mark.json"
    content = json.loads(mark.read_text())
    for planted in (b"{", json.dumps({**content, "point": "volumes/other"}).encode()):
        mark.write_bytes(planted)
        assert "is no mark of snap/media/" in move_here(files_pod, code=5).error["message"]


def test_a_mover_that_was_killed_while_it_put_data_in_place_begins_anew(kept: Files, files_pod: Pod) -> None:
    move_here(files_pod)
    work = files_pod.claim / ".drtool-r1-media"
    (work / "data").mkdir()
    moved = next(each for each in files_pod.claim.iterdir() if each.is_file())
    moved.rename(work / "data" / moved.name)
    assert "is not whole" in settle(files_pod, "media", code=5).error["message"]
    assert "it begins anew" in move_here(files_pod).err
    settle(files_pod, "media")
    assert look(files_pod.claim) == look(kept.tree)
