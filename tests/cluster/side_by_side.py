"""All cluster tests in several labs at once, for mostly they wait: LABS=2 make test-cluster.

Each lab runs its files as `python -m tests.cluster test FILE…` does. What the first says is shown as it comes, what
the others say after it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from tests.cluster.guardian import LABS
from tests.cluster.inside import ROOT
from tests.cluster.machine import DISK_BYTES, MEMORY_BYTES

LOOK_S: Final = 0.5
# How long a file took when it was last measured, as it comes: for shares that end together.
SECONDS: Final[Mapping[str, int]] = {
    "test_access.py": 10,
    "test_backup_faults.py": 195,
    "test_bringup.py": 75,
    "test_doctor.py": 40,
    "test_faults.py": 145,
    "test_funkwhale.py": 65,
    "test_guardian.py": 15,
    "test_intrusion.py": 70,
    "test_misago.py": 105,
    "test_network_policies.py": 155,
    "test_objects.py": 120,
    "test_overlays.py": 15,
    "test_preflight.py": 45,
    "test_protection.py": 130,
    "test_restore.py": 385,
    "test_restore_objects.py": 175,
    "test_store_faults.py": 15,
    "test_tiny.py": 45,
    "test_wesago.py": 125,
}
A_FILE_S: Final = 5  # one that is not here has no test that needs a cluster, or is new


def labs_here(wanted: str) -> int:
    """Return how many labs to start: as many as are wanted, and no more than this machine bears; at least one."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    disk = shutil.disk_usage(LABS).free
    most = min(os.cpu_count() or 1, memory // (2 * MEMORY_BYTES), disk // (2 * DISK_BYTES))
    return max(1, min(int(wanted) if wanted.isdecimal() else 1, most))


def shares_of(files: Sequence[str], labs: int) -> list[list[str]]:
    """Return files in that many shares which take about as long as each other: the longest file first."""
    shares: list[list[str]] = [[] for _ in range(labs)]
    for file in sorted(files, key=lambda each: (-_seconds(each), each)):
        min(shares, key=lambda share: sum(map(_seconds, share))).append(file)
    return [sorted(share) for share in shares if share]


def _seconds(file: str) -> int:
    return SECONDS.get(Path(file).name, A_FILE_S)


def run_all(commands: Sequence[Sequence[str]]) -> int:
    """Run commands beside each other, and return the worst of their exit codes. Ctrl-C ends them all, politely.

    They end with this process, too, however it does.
    """
    with ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.NamedTemporaryFile()) for _ in commands]
        running = [_start(command, output) for command, output in zip(commands, outputs, strict=True)]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: _end(running))
        for process, output in zip(running, outputs, strict=True):
            _show(process, Path(output.name))
        return max(process.returncode for process in running)


def _start(command: Sequence[str], output: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own: a terminal's Ctrl-C comes to it once, through us."""
    bound = ("setpriv", "--pdeathsig=TERM", *command)
    return subprocess.Popen(bound, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def _end(running: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in running:
        process.terminate()


def _show(process: "subprocess.Popen[bytes]", output: Path) -> None:
    """Show what a process says until it has ended."""
    with output.open(errors="replace") as reading:
        is_over = False
        while not is_over:
            try:
                process.wait(LOOK_S)
                is_over = True
            except subprocess.TimeoutExpired:
                pass
            sys.stdout.write(reading.read())
            sys.stdout.flush()
