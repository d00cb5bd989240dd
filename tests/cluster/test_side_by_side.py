"""The cluster tests in several labs at once: every file in one of them, and nothing left when they are ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import side_by_side
from tests.cluster.process import wait_until

ROOT = Path(__file__).parent.parent.parent
LOOK_S = 20


def test_every_file_is_in_one_share_and_shares_take_about_as_long() -> None:
    files = [f"tests/cluster/{name}" for name in (*side_by_side.SECONDS, "test_new.py", "test_newer.py")]
    shares = side_by_side.shares_of(files, 2)
    assert sorted(shares[0] + shares[1]) == sorted(files)
    one, other = (
        sum(side_by_side.SECONDS.get(Path(file).name, side_by_side.A_FILE_S) for file in share)
        for share in shares
    )
    assert abs(one - other) <= min(side_by_side.SECONDS.values())


def test_the_times_are_of_files_that_there_are() -> None:
    assert all((ROOT / "tests/cluster" / name).is_file() for name in side_by_side.SECONDS)


def test_what_all_say_is_shown_whole_one_after_the_other_and_the_worst_end_counts() -> None:
    said = _run("for i in 1 2 3; do echo one $i; sleep 0.2; done", "echo other; exit 3", "exit 1")
    assert (said.stdout, said.returncode) == ("one 1\none 2\none 3\nother\n", 3)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_they_end_with_who_started_them(signum: signal.Signals, tmp_path: Path) -> None:
    alive = [tmp_path / "one", tmp_path / "other"]
    scripts = [f"echo $$ >{file}.new; mv {file}.new {file}; exec sleep 600" for file in alive]
    process = subprocess.Popen(_command(*scripts), cwd=ROOT)
    wait_until(lambda: all(file.exists() for file in alive), "both are at work", deadline_s=LOOK_S)
    process.send_signal(signum)
    process.wait(LOOK_S)
    wait_until(lambda: not any(map(_is_running, alive)), "both have ended", deadline_s=LOOK_S)


def _run(*scripts: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(_command(*scripts), cwd=ROOT, capture_output=True, text=True, check=False)


def _command(*scripts: str) -> list[str]:
    """Return a command that runs shell scripts beside each other."""
    commands = [("sh", "-c", each) for each in scripts]
    run = "import sys; from tests.cluster.side_by_side import run_all; "
    return [sys.executable, "-c", f"{run}sys.exit(run_all({commands!r}))"]


def _is_running(file: Path) -> bool:
    try:
        os.kill(int(file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True
