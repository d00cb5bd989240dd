"""Sees to it that nothing of a lab is left, however it ends: by itself, by Ctrl-C, by kill -9 of whoever started it.

The guardian is a process between the one that a person started (the owner) and the lab. It holds a pipe from the
owner, which breaks when the owner ends; it starts the lab so that the kernel ends it when the guardian does; afterwards
it removes what namespaces do not take with them: control groups and the lab's folder. If the guardian itself is killed,
the owner removes them; what both their deaths leave, the next start removes.
"""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO

from tests.cluster.cache import cache_root
from tests.cluster.cgroups import lab_group
from tests.cluster.process import started_at, wait_until

LABS = Path("/var/tmp")  # on a disk, as overlayfs wants it, and the path of a socket has to be short
PREFIX = "drtool-lab-"
ISOLATED = ("--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc")
GRACE_S = 60  # for tests to say how far they came, after Ctrl-C
KEPT_LOGS = 5  # of labs that failed
LOOK_EVERY_MS = 500
BEING_MADE_S = 60  # before its lock is there, a lab's folder is new

_held: list[IO[str]] = []


def main(lab: Path, owner: int, command: list[str]) -> int:
    """Run command in a new lab whose folder is lab, until it ends or the pipe owner breaks. Return its exit code."""
    watch(lab)
    child = subprocess.Popen(
        [
            "setpriv",
            "--pdeathsig=KILL",
            "unshare",
            *ISOLATED,
            sys.executable,
            "-m",
            "tests.cluster.init",
            *command,
        ],
        close_fds=True,
    )
    _interrupt_politely(lab, child)
    try:
        init = _only_child(child.pid)
        (lab / "init").write_text(f"{init} {started_at(init)}")
        _wait_for_either(child, owner)
    finally:
        child.kill()
        code = child.wait()
        if code:
            _keep_logs(lab)
        sweep(lab)
    return code if code >= 0 else 128 - code


def watch(lab: Path) -> None:
    """Let others know that somebody sees to this lab's end: by a lock, which ends with this process."""
    file = (lab / "watched").open("w")
    fcntl.flock(file, fcntl.LOCK_SH)
    _held.append(file)


def sweep(lab: Path) -> None:
    """Remove everything of a lab; safe to repeat."""
    _signal(lab, signal.SIGKILL)
    wait_until(lambda: not _running(lab / "init"), f"all processes of {lab} are gone", deadline_s=60)
    lab_group(lab).kill()
    lab_group(lab).remove()
    if lab.exists():
        shutil.rmtree(lab)


def sweep_leftovers(labs: Path = LABS) -> list[Path]:
    """Remove what crashed labs left, and return their folders. Labs that somebody sees to are left alone."""
    dead = [lab for lab in sorted(labs.glob(f"{PREFIX}*")) if not _is_watched(lab)]
    for lab in dead:
        sweep(lab)
    return dead


def _is_watched(lab: Path) -> bool:
    try:
        with (lab / "watched").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return time.time() - lab.stat().st_mtime < BEING_MADE_S
    return False


def _interrupt_politely(lab: Path, child: subprocess.Popen[bytes]) -> None:
    """At a signal ask the lab to end, so that tests say how far they came; at the second, or in a while, end it."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.alarm(GRACE_S)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda number, frame: child.kill())
        _signal(lab, signal.SIGINT)
        if not (lab / "init").exists():  # nothing has begun yet
            child.kill()

    signal.signal(signal.SIGALRM, lambda number, frame: child.kill())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


def _wait_for_either(child: subprocess.Popen[bytes], pipe: int) -> None:
    """Return when child has ended, or the other end of pipe is closed."""
    either = select.poll()
    either.register(os.pidfd_open(child.pid), select.POLLIN)
    either.register(pipe, select.POLLIN)
    while not either.poll(LOOK_EVERY_MS):  # a signal that came just before waits until poll returns
        pass


def _only_child(parent: int) -> int:
    """Return the id of the one process that parent starts."""
    found: list[int] = []

    def look() -> bool:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[1] == str(parent):
                found.append(int(stat.parent.name))
        return bool(found) or not started_at(parent)

    wait_until(look, "the lab has a first process", deadline_s=20)
    return found[0] if found else parent


def _running(record: Path) -> list[int]:
    """Return the process that a file names, with its start, if it still runs."""
    if not record.exists():
        return []
    pid, start = record.read_text().split()
    return [int(pid)] if started_at(int(pid)) == start else []


def _signal(lab: Path, number: signal.Signals) -> None:
    """Send a signal to the first process of a lab, if there is one."""
    for pid in _running(lab / "init"):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _keep_logs(lab: Path) -> None:
    """Keep a failed lab's logs, and those of its pods, beside the cache; say where."""
    logs = cache_root() / "logs"
    kept = logs / time.strftime("%Y%m%d-%H%M%S")
    if not (lab / "logs").exists():
        return
    shutil.copytree(lab / "logs", kept, dirs_exist_ok=True)
    for pods in lab.glob("*/*/var/log/pods"):
        shutil.copytree(pods, kept / "pods" / pods.parents[2].name, dirs_exist_ok=True)
    for old in sorted(logs.iterdir())[:-KEPT_LOGS]:
        shutil.rmtree(old)
    print(f"logs: {kept}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
