"""The course over a tree of files: first backup, nothing changed, 100 files changed, restore.

Before every measurement the page cache holds the tree and the side's repository, and memory has been touched, as in
the course over a cluster. Every other round, and every other step in it, the sides go the other way round.
"""

import mmap
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.course import read_through, say, touch_memory
from bench.files_sides import FilesSide
from bench.side import Done
from bench.tree import Changed, FileTree

CHANGED_FILES = 100


@dataclass(slots=True)
class FilesRound:
    """What one round found: by step and side; and what had changed before the step `changed`."""

    done: dict[str, dict[str, Done]] = field(default_factory=dict)
    changed: Changed = field(default_factory=lambda: Changed(0, 0))


class FilesCourse:
    """Runs rounds on one tree."""

    def __init__(self, tree: FileTree, sides: Sequence[FilesSide], directory: Path) -> None:
        self._tree = tree
        self._sides = list(sides)
        self._directory = directory

    def run(self, number: int) -> FilesRound:
        """Measure every step once for every side."""
        found = FilesRound()
        self._tree.settle()
        for side in self._sides:
            side.fresh()
        self._step(found, "first", number, lambda side: side.backup())
        self._step(found, "unchanged", number + 1, lambda side: side.backup())
        found.changed = self._tree.change(CHANGED_FILES)
        self._step(found, "changed", number, lambda side: side.backup())
        try:
            self._step(found, "restore", number + 1, lambda side: side.restore(self._target(side)))
        finally:  # not before: ext4 without a journal searches long for inodes that were not in use a minute ago
            for side in self._sides:
                shutil.rmtree(self._target(side), ignore_errors=True)
        return found

    def _step(self, found: FilesRound, name: str, turn: int, work: Callable[[FilesSide], Done]) -> None:
        found.done[name] = {}
        for side in self._sides if turn % 2 == 0 else self._sides[::-1]:
            say(f"files, {name}: {side.name}")
            os.sync()
            size = sum(map(read_through, (self._tree.root, side.repository)))
            touch_memory(min(2 * size, os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE // 2))
            found.done[name][side.name] = work(side)

    def _target(self, side: FilesSide) -> Path:
        return self._directory / f"restored-{side.name}"
