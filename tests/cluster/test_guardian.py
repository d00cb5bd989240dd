"""Nothing of a lab is left, however it ends."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.cluster import guardian
from tests.cluster.cgroups import hierarchies, lab_group
from tests.cluster.process import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

ROOT = Path(__file__).parent.parent.parent
GONE_S = 30
SCRIPT = """
set -eu
ip link add left0 type bridge
mkdir -p $1/logs $1/mounted
mount -t tmpfs left $1/mounted
for root in $2; do mkdir -p $root/${1##*/}/a1/pod; echo $$ >$root/${1##*/}/a1/pod/cgroup.procs || true; done
trap 'echo interrupted >>$1/../said; [ -e $1/stubborn ] || exit 7' INT
setsid sleep 1234567 &
touch $1/up
while sleep 0.1; do [ ! -e $1/end ] || exit 3; done
"""


@dataclass(frozen=True)
class Guarded:
    """A lab whose command makes what a real one makes, without a cluster, and the ends that a test can bring about."""

    lab: Path
    process: subprocess.Popen[bytes]
    owner_end: IO[bytes]

    def is_gone(self) -> bool:
        groups = [root / self.lab.name for root in hierarchies()]
        return not self.lab.exists() and not any(group.exists() for group in groups) and not _sleepers()


def _sleepers() -> list[str]:
    """Return the processes that only a lab of these tests has."""
    return [
        str(file)
        for file in Path("/proc").glob("[0-9]*/cmdline")
        if b"1234567" in _content(file) and b"sleep" in _content(file)[:10]
    ]


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


@contextmanager
def owned(lab: Path) -> Iterator[Guarded]:
    """Start a guardian as a person's command does, and be the owner."""
    lab.mkdir()
    read, write = os.pipe()
    roots = " ".join(str(root) for root in hierarchies() if root.name != "cpuset")
    command = ["sh", "-c", SCRIPT, "lab", str(lab), roots]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.guardian", str(lab), str(read), *command],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(lab.parent)},  # where the logs of labs that fail are kept
        pass_fds=[read],
        start_new_session=True,
    )
    os.close(read)
    guarded = Guarded(lab, process, os.fdopen(write, "wb"))
    try:
        wait_until((lab / "up").exists, "the lab is up", deadline_s=GONE_S)
        yield guarded
    finally:
        process.kill()
        process.wait()
        guardian.sweep(lab)
        guarded.owner_end.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with owned(tmp_path / f"{guardian.PREFIX}{os.getpid():x}") as started:
        yield started


def test_a_lab_that_ends_gives_its_exit_code_and_leaves_nothing(guarded: Guarded) -> None:
    before = _interfaces_and_mounts()

    (guarded.lab / "end").touch()

    assert guarded.process.wait(GONE_S) == 3
    assert guarded.is_gone()
    assert _interfaces_and_mounts() == before


def test_a_lab_whose_owner_was_killed_is_gone(guarded: Guarded) -> None:
    assert _sleepers()

    guarded.owner_end.close()  # which the kernel does when the owner is killed

    guarded.process.wait(GONE_S)
    assert guarded.is_gone()


def test_a_lab_that_is_interrupted_may_say_its_last_words(guarded: Guarded, tmp_path: Path) -> None:
    guarded.process.terminate()

    assert guarded.process.wait(GONE_S) == 7
    assert (tmp_path / "said").read_text() == "interrupted\n"
    assert guarded.is_gone()


def test_a_second_signal_ends_a_lab_that_does_not_mind_the_first(guarded: Guarded, tmp_path: Path) -> None:
    (guarded.lab / "stubborn").touch()

    guarded.process.terminate()
    wait_until((tmp_path / "said").exists, "the lab was asked", deadline_s=GONE_S)
    guarded.process.terminate()

    guarded.process.wait(GONE_S)
    assert guarded.is_gone()


def test_what_a_killed_guardian_leaves_is_removed_by_the_next_start(guarded: Guarded, tmp_path: Path) -> None:
    guarded.process.kill()
    guarded.process.wait()
    wait_until(lambda: not _sleepers(), "the lab's processes are gone", deadline_s=GONE_S)
    assert guarded.lab.exists()

    assert guardian.sweep_leftovers(tmp_path) == [guarded.lab]

    assert guarded.is_gone()


def test_a_lab_that_somebody_sees_to_is_no_leftover(guarded: Guarded, tmp_path: Path) -> None:
    assert guardian.sweep_leftovers(tmp_path) == []
    assert not guarded.is_gone()


def test_a_lab_whose_owner_prepares_it_is_no_leftover(tmp_path: Path) -> None:
    lab = tmp_path / f"{guardian.PREFIX}new"
    lab.mkdir()

    assert guardian.sweep_leftovers(tmp_path) == []

    with (lab / "watched").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert guardian.sweep_leftovers(tmp_path) == []
    assert guardian.sweep_leftovers(tmp_path) == [lab]


def test_a_group_is_removed_with_those_below_it_and_what_runs_in_it_is_killed(tmp_path: Path) -> None:
    group = lab_group(tmp_path / f"drtool-test-{os.getpid():x}").below("a1")
    group.create()
    with subprocess.Popen(["sleep", "1000"]) as process:
        group.add(process.pid)
        assert group.processes() == {process.pid}

        lab_group(Path(f"drtool-test-{os.getpid():x}")).kill()

        assert process.wait(GONE_S) == -signal.SIGKILL
    lab_group(Path(f"drtool-test-{os.getpid():x}")).remove()
    assert not [root for root in hierarchies() if (root / f"drtool-test-{os.getpid():x}").exists()]


def _interfaces_and_mounts() -> tuple[str, str]:
    interfaces = subprocess.check_output(["ip", "-brief", "link"], text=True)
    return interfaces, Path("/proc/self/mounts").read_text()
