import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from drtool.demo.servers.process import Process, ServerFailed, can_connect, free_port, wait_until

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
time.sleep(60)
"""


def test_a_server_is_waited_for_and_stopped(tmp_path: Path) -> None:
    port = free_port()
    process = Process.start([sys.executable, "-c", LISTEN, str(port)], tmp_path / "log")

    wait_until(lambda: can_connect(port), "it listens", deadline_s=10, process=process)
    assert process.is_running()
    process.stop()
    process.stop()

    assert not process.is_running()
    assert not can_connect(port)


def test_a_server_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    process = Process.start([sys.executable, "-c", "raise SystemExit('no such setting')"], tmp_path / "log")

    with pytest.raises(ServerFailed, match="ended with 1") as failed:
        wait_until(lambda: False, "it listens", deadline_s=10, process=process)

    assert "no such setting" in failed.value.message
    assert str(tmp_path / "log") in failed.value.hint


def test_a_server_that_never_answers_is_reported_after_the_deadline(tmp_path: Path) -> None:
    process = Process.start([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")

    with pytest.raises(ServerFailed, match=r"waited 0.1 s in vain until it listens"):
        wait_until(lambda: False, "it listens", deadline_s=0.1, process=process)
    process.kill()
    process.kill()


def test_a_server_that_will_not_stop_is_killed_and_reported(tmp_path: Path) -> None:
    process = Process.start([sys.executable, "-c", DEAF], tmp_path / "log")
    wait_until(lambda: "deaf" in process.log_tail(), "it is deaf", deadline_s=10, process=process)

    with pytest.raises(ServerFailed, match="did not stop"):
        process.stop(signal.SIGTERM, deadline_s=0.2)

    assert not process.is_running()


def test_kill_takes_the_children_along(tmp_path: Path) -> None:
    port = free_port()
    process = Process.start([sys.executable, "-c", PARENT, LISTEN, str(port)], tmp_path / "log")
    wait_until(lambda: can_connect(port), "the child listens", deadline_s=10, process=process)

    process.kill()

    wait_until(lambda: not can_connect(port), "the child is gone", deadline_s=10)


def test_a_program_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="cannot run /none"):
        Process.start(["/none"], tmp_path / "log")


def test_the_environment_is_added_to_ours(tmp_path: Path) -> None:
    show = "import os; print(os.environ['ADDED'], os.environ['PATH'])"
    process = Process.start([sys.executable, "-c", show], tmp_path / "log", env={"ADDED": "yes"})

    wait_until(lambda: not process.is_running(), "it has ended", deadline_s=10)

    assert process.log_tail() == f"yes {os.environ['PATH']}"


def test_free_ports_are_free_and_never_given_twice() -> None:
    ports = [free_port() for _ in range(50)]

    assert len(set(ports)) == 50
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_server_runs_in_the_primary_group_of_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian has no group of the name `nobody`, though it has the user."""
    asked: dict[str, object] = {}

    class Asked(Exception):
        pass

    def ask(*_: object, **options: object) -> None:
        asked.update(options)
        raise Asked

    monkeypatch.setattr(subprocess, "Popen", ask)
    with pytest.raises(Asked):
        Process.start(["true"], tmp_path / "log", user="nobody")
    assert (asked["user"], asked["group"]) == ("nobody", pwd.getpwnam("nobody").pw_gid)
