"""The course: what is measured in one round, in which order, and from the same state for both sides.

Before every measurement the page cache holds the cluster and the side's repository, and memory for what will be
written has been touched: a hypervisor may have taken it back, and giving it again takes longer than any write.
"""

import mmap
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.changes import Changed, compare, read_digests
from bench.cluster import change
from bench.measure import Spent, measure
from bench.side import Done, Side
from drtool.demo.servers.postgres import PostgresServer

SECOND_BACKUPS = ("unchanged", "clustered", "scattered")
_BLOCK = 1024 * 1024


@dataclass(slots=True)
class Round:
    """What one round found: by step and side; what discarding a BASE_BACKUP took; what had changed before a step."""

    discard: Spent
    done: dict[str, dict[str, Done]] = field(default_factory=dict)
    changed: dict[str, tuple[int, Changed]] = field(default_factory=dict)


class Course:
    """Runs rounds on one cluster. Every other round, and every other step in it, another side begins."""

    def __init__(self, server: PostgresServer, sides: Sequence[Side], directory: Path) -> None:
        self._server = server
        self._sides = list(sides)
        self._directory = directory
        self._changes = 0

    def run(self, number: int) -> Round:
        """Measure every step once for every side."""
        found = Round(self._discard())
        for side in self._sides:
            side.fresh()
        self._step(found, "first", number, lambda side: side.backup())
        for place, step in enumerate(SECOND_BACKUPS):
            if step != "unchanged":
                self._change(found, step)
            self._settle()
            self._step(found, step, number + place, lambda side: side.backup())
        self._settle()
        self._step(found, "restore", number, self._restore)
        return found

    def _settle(self) -> None:
        for side in self._sides:
            side.settle()

    def _step(self, found: Round, name: str, turn: int, work: Callable[[Side], Done]) -> None:
        order = self._sides if turn % 2 == 0 else self._sides[::-1]
        found.done[name] = {}
        for side in order:
            say(f"{name}: {side.name}")
            self._level(side.repository)
            found.done[name][side.name] = work(side)

    def _level(self, *repositories: Path) -> None:
        """Bring server, page cache and memory into the same state before every measurement."""
        self._server.sql("checkpoint")
        os.sync()
        size = sum(map(read_through, (self._server.data, *repositories)))
        touch_memory(min(2 * size, os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE // 2))

    def _discard(self) -> Spent:
        say("yardstick: BASE_BACKUP, discarded")
        self._level()
        env = {"PGPORT": str(self._server.port), "PGPASSWORD": self._server.password}
        return measure([sys.executable, "-m", "bench.discard"], env=env)

    def _change(self, found: Round, step: str) -> None:
        before = read_digests(self._server.data)
        pages = change(self._server, self._changes, clustered=step == "clustered")
        self._changes += 1
        self._server.sql("checkpoint")
        found.changed[step] = pages, compare(self._server.data, before)

    def _restore(self, side: Side) -> Done:
        target = self._directory / f"restored-{side.name}"
        try:
            return side.restore(target)
        finally:
            shutil.rmtree(target, ignore_errors=True)


def read_through(directory: Path) -> int:
    """Read all files below directory into the page cache; return their size in bytes."""
    size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError), (Path(root) / name).open("rb") as file:
                while read := len(file.read(_BLOCK)):
                    size += read
    return size


def touch_memory(size: int) -> None:
    """Take size bytes of memory from the system, and give them back."""
    with mmap.mmap(-1, size) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def help_seconds(times: int = 9) -> list[float]:
    """Return how long `drtool --help` took, each time."""
    return [measure([sys.executable, "-m", "drtool", "--help"]).seconds for _ in range(times)]


def disk_seconds(directory: Path, size: int, times: int = 3) -> float:
    """Return how long it takes to write size bytes into one file and make them durable: the median."""
    place = directory / "yardstick"
    block = os.urandom(_BLOCK)
    taken = []
    for _ in range(times):
        touch_memory(size)
        begun = time.perf_counter()
        with place.open("wb", buffering=0) as file:
            for _ in range(size // _BLOCK):
                file.write(block)
            os.fsync(file)
        taken.append(time.perf_counter() - begun)
        place.unlink()
    return median(taken)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
