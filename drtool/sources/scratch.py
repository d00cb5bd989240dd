"""Private folders that end with their drtool: a lock tells that it lives, and the next one clears away what is left.

Others may write beside them, as in /tmp. So nothing is followed, and what is not of the same account is left alone.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class ScratchFolder:
    """A private folder in parent, or where temporary files are. As long as this process lives, it is locked."""

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            self._handle = os.open(self.path, _FLAGS)
            # Some network file systems lock no folders: then nobody takes it away either.
            with suppress(OSError):
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            if is_at(self._handle, self.path):
                return
            os.close(self._handle)  # somebody cleared it away before it was locked

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove it with all that is in it. Safe to repeat."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def left_folders(
    prefix: str, owners: Collection[int], parent: Path | None = None
) -> Iterator[tuple[Path, int]]:
    """Yield the folders of owners whose drtool has ended without removing them, each with a handle on it."""
    for path in sorted((parent or Path(tempfile.gettempdir())).glob(f"{prefix}*")):
        try:
            handle = os.open(path, _FLAGS)
        except OSError:
            continue
        try:
            if os.fstat(handle).st_uid in owners and _has_ended(handle):
                yield path, handle
        finally:
            os.close(handle)


def clear_left_trees(prefix: str, parent: Path | None = None) -> None:
    """Remove our own folders whose drtool has ended without removing them, with all that is in them."""
    for path, _ in left_folders(prefix, {os.geteuid()}, parent):
        shutil.rmtree(path, ignore_errors=True)


def _has_ended(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_files(path: Path, handle: int, names: Collection[str]) -> None:
    """Remove the files of those names from a folder, and the folder if nothing else is in it. Raises OSError."""
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=handle)
    if is_at(handle, path):
        path.rmdir()


def is_at(handle: int, path: Path) -> bool:
    """Tell whether path is still the folder of handle."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def within(handle: int, name: str) -> str:
    """Return a path of a socket in the folder of handle that is short, however deep that one is."""
    return f"/proc/self/fd/{handle}/{name}"
