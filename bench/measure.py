"""One command, measured: wall clock, CPU seconds, memory of its own process and of its children.

The largest resident set comes from /proc, sampled: that of wait4 would count the bench itself, which forked it.
"""

import os
import pwd
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SAMPLE_S = 0.05
_COMPILED = (
    "PYTHONDONTWRITEBYTECODE"  # who sets it compiles drtool at each start: an installed one is compiled
)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CommandFailed(Exception):
    """A measured command ended with another exit code than 0."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a command took. Times in seconds; memory in bytes: the most of its process, and of all below it at once."""

    seconds: float
    cpu: float
    own_peak: int
    children_peak: int
    output: str


def measure(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, account: str | None = None
) -> Spent:
    """Run argv to its end, as account where one is named. Raises CommandFailed with what it printed."""
    user = {} if account is None else {"user": account, "group": pwd.getpwnam(account).pw_gid}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        child = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={name: value for name, value in os.environ.items() if name != _COMPILED} | dict(env or {}),
            extra_groups=None if account is None else [],
            **user,  # type: ignore[call-overload]  # two keywords that belong together
        )
        memory = _Memory(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begun
        memory.stop()
        child.returncode = os.waitstatus_to_exitcode(status)
        text, complaint = _text(output), _text(errors)
    if child.returncode:
        words = " ".join(map(str, argv))
        raise CommandFailed(f"{words} ended with {child.returncode}:\n{text}\n{complaint}")
    return Spent(seconds, usage.ru_utime + usage.ru_stime, memory.own, memory.children, text)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


class _Memory:
    """Watches a process and all below it, from a thread."""

    def __init__(self, pid: int) -> None:
        self.own = 0
        self.children = 0
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(_SAMPLE_S):
            self.own = max(self.own, _high_water(self._pid))
            self.children = max(self.children, sum(map(_resident, _descendants(self._pid))))


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        tasks = [*Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended
        return found
    for task in tasks:
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def tree_bytes(directory: Path) -> int:
    """Return the size of all files below directory, in bytes."""
    return sum((Path(root) / name).lstat().st_size for root, _, names in os.walk(directory) for name in names)
