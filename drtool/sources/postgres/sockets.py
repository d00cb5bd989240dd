"""Folders for the sockets of servers of our own: with short paths, and gone at the latest with the next server.

The path of a socket has at most 107 bytes, and a data directory may be deeper: so they lie where temporary files do.
"""

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "drtool-pg-"
_SOCKET: Final = ".s.PGSQL."  # what PostgreSQL's own files there begin with
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class SocketFolder:
    """A private folder. As long as this process lives, its lock tells the others that it is in use."""

    def __init__(self) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._handle = os.open(self.path, _FLAGS)
            with suppress(
                OSError
            ):  # some network file systems lock no folders: then nobody takes it away either
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            if _is_at(self._handle, self.path):
                return
            os.close(self._handle)  # somebody cleared it away before it was locked

    def remove(self) -> None:
        """Remove it with all that is in it. Safe to repeat."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def clear_left(owners: Collection[int]) -> None:
    """Remove the folders of owners that a killed drtool left, and no server uses any more.

    Everybody may write beside them, so nothing is followed: only PostgreSQL's own files go, and the empty folder.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError), _opened(path) as handle:
            if os.fstat(handle).st_uid not in owners:
                continue
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names = [name for name in os.listdir(handle) if name.startswith(_SOCKET)]  # noqa: PTH208 - by handle
            if any(_is_served(handle, name) for name in names):
                continue
            for name in names:
                os.unlink(name, dir_fd=handle)
            if _is_at(handle, path):
                path.rmdir()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, _FLAGS)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def _is_served(folder: int, name: str) -> bool:
    """Tell whether somebody listens on the socket of that name; its path is short, however deep the folder is."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(f"/proc/self/fd/{folder}/{name}")
        except BlockingIOError:
            return True  # more wait to be let in than it takes
        except OSError:
            return False
    return True
