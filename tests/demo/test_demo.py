"""The demo as it is shipped: run once to its end, and once until somebody presses Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

LONGEST_STORY = 45  # lines
DEADLINE_S = 300


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files that the account of PostgreSQL may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="drtool-demo-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def start(temporary: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "drtool", "demo", *options],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of all processes that name folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if str(folder) in command:
            found.append(command)
    return found


def test_the_demo_holds_every_check_and_leaves_nothing_behind(temporary: Path) -> None:
    with start(temporary) as demo:
        story, errors = demo.communicate(timeout=DEADLINE_S)

    assert demo.returncode == 0, f"{story}\n{errors}"
    lines = story.splitlines()
    assert lines[-1] == "Every check held."
    assert len(lines) <= LONGEST_STORY
    for told in ("$ drtool backup", "against the ledger", "Redis: all", "achieved: RPO", "exactly the"):
        assert told in story
    assert processes_in(temporary) == []
    assert list(temporary.iterdir()) == []


def test_an_interrupted_demo_leaves_nothing_behind(temporary: Path) -> None:
    with start(temporary) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("  $ drtool backup"):
                break
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=DEADLINE_S)

    assert demo.returncode == 130, errors
    assert processes_in(temporary) == []
    assert list(temporary.iterdir()) == []
