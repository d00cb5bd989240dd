"""The mark of a mover: what it put in place and what it found of it, for who comes after it was killed or forgotten."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

from pydantic import TypeAdapter, ValidationError

from drtool.sources.base import Json

_FRESH: Final = "lost+found"  # what a new file system holds


@dataclass(frozen=True, slots=True)
class Mark:
    """print is that of the data when it was proven; result is what its restore ended with."""

    volume: str
    point: str
    print: str
    result: Json = field(repr=False)


_MARK: Final = TypeAdapter(Mark)


def write_mark(file: Path, mark: Mark) -> None:
    """Write a mark, durably: all of it is there, or what was there before."""
    new = file.with_name(f"{file.name}.new")
    with new.open("wb") as opened:
        opened.write(_MARK.dump_json(mark))
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
    handle = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_mark(file: Path) -> Mark | None:
    """Return the mark in file, None where that is none."""
    try:
        return _MARK.validate_json(file.read_bytes())
    except ValidationError:
        return None


def print_of(folder: Path, *, skip: str = "/") -> str:
    """Return what tells a tree from one that was written to since: names, kinds, sizes, and when files were written.

    Neither owners nor modes, which kubelet gives to what it mounts; nor what in folder itself begins with skip.
    """
    found = sha256()
    for place, name in _below(os.fsencode(folder), os.fsencode(skip)):
        seen = os.lstat(place)
        is_file = stat.S_ISREG(seen.st_mode)
        told = (name, stat.S_IFMT(seen.st_mode), *((seen.st_size, seen.st_mtime_ns) if is_file else ()))
        found.update(repr(told).encode())
    return found.hexdigest()


def _below(root: bytes, skip: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield where each entry below root is, and its name from there."""
    for folder, folders, files in os.walk(root, onerror=_fail):
        if folder == root:
            folders[:] = [each for each in folders if each != _FRESH.encode() and not each.startswith(skip)]
        folders.sort()
        for name in sorted([*folders, *files]):
            place = os.path.join(folder, name)  # noqa: PTH118 - names need be no text
            yield place, os.path.relpath(place, root)


def _fail(fault: OSError) -> NoReturn:
    raise fault
