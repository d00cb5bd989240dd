"""The data of the files course: a tree of an application's uploads, half of its files prose, half random bytes.

Sizes are log-normal, as those of most trees are: half of the files are smaller than 4 KB, and a few hold most bytes.
"""

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from bench.words import prose

_SEED = 15
_SPREAD = 1.8  # sigma of the logarithm of a size
_SETTLED_S = 65  # after this, drtool knows a file that was not written to as unchanged
_LARGEST = 64 * 1024 * 1024
_PER_FOLDER = 100
_FOLDERS = ("uploads", "avatars", "exports", "mail", "cache")
_PROSE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Changed:
    """What was changed: how many files, and how many bytes they hold now."""

    files: int
    size: int


class FileTree:
    """A tree of count files that hold size bytes, the same each time it is made."""

    def __init__(self, root: Path, count: int, size: int) -> None:
        self.root = root
        self.size = size
        self._chance = random.Random(_SEED)
        self._prose = prose(self._chance, _PROSE_BYTES)
        self._sizes = _sizes(self._chance, count, size)
        self._files = [_place(number) for number in range(count)]
        self._written = time.monotonic()

    def fill(self) -> None:
        """Write all files, and make them durable."""
        for path, size in zip(self._files, self._sizes, strict=True):
            self._write(path, size)
        os.sync()

    def settle(self) -> None:
        """Return once all files are as old as those of most trees: what is quite new is read again by the next run."""
        time.sleep(max(0.0, self._written + _SETTLED_S - time.monotonic()))

    def change(self, count: int) -> Changed:
        """Write count files anew, spread over the tree; every call takes others by chance."""
        chosen = self._chance.sample(range(len(self._files)), count)
        for number in chosen:
            self._write(self._files[number], self._sizes[number])
        return Changed(count, sum(self._sizes[number] for number in chosen))

    def _write(self, path: str, size: int) -> None:
        self._written = time.monotonic()
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if self._chance.random() < 0.5:
            place.write_bytes(self._chance.randbytes(size))
            return
        start = self._chance.randrange(len(self._prose) - size) if size < len(self._prose) else 0
        whole = self._prose[start : start + size]
        place.write_bytes((whole * (size // len(whole) + 1))[:size])


def _sizes(chance: random.Random, count: int, total: int) -> list[int]:
    drawn = [chance.lognormvariate(0, _SPREAD) for _ in range(count)]
    unit = total / sum(drawn)
    return [min(_LARGEST, max(1, int(each * unit))) for each in drawn]


def _place(number: int) -> str:
    """Return the path of a file: folders of a hundred files, two to four levels down."""
    folder = number // _PER_FOLDER
    top, year, month = _FOLDERS[folder % len(_FOLDERS)], 2019 + folder % 7, 1 + folder % 12
    middle = (f"{year}", f"{month:02d}", f"{folder:04d}")[folder % 3 :]
    return "/".join((top, *middle, f"{number * 2_654_435_761 % 2**32:08x}.dat"))
