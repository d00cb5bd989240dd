"""Every file of a tree, folders before what they hold, names in order; no link is followed, no mount entered.

Everything is reached from the folder above it, which is held open: a link planted on the way leads nowhere.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.files.faults import unreadable, vanished
from drtool.sources.files.names import ROOT

OPEN_FOLDERS: Final = 64  # held open on the way down; a deeper tree is climbed again by `..`
LOST_AND_FOUND: Final = "lost+found"  # the file system's own, in the tree's own directory

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_Identity = tuple[int, int]  # device and inode


class Seen(NamedTuple):
    """One file of the tree. path and name are as the system decodes them; folder is open until the walk goes on."""

    path: str
    name: str
    folder: int
    status: os.stat_result


@dataclass(slots=True)
class LeftOut:
    """What a walk met and did not yield, by path: gone meanwhile, or another file system's."""

    vanished: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Folder:
    path: str
    names: Iterator[str]
    identity: _Identity
    handle: int | None

    def close(self) -> None:
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None


class Walk:
    """One walk under way. Use as a context; left_out is whole once the iteration has ended by itself."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stack: list[_Folder] = []
        self.left_out = LeftOut()

    def __enter__(self) -> "Walk":
        return self

    def __exit__(self, *exc: object) -> None:
        while self._stack:
            self._stack.pop().close()

    def __iter__(self) -> Iterator[Seen]:
        """Yield the tree's own directory, then all below it. Raises SourceUnavailable at what cannot be read."""
        top = self._open_root()
        yield Seen(ROOT, ROOT, top, os.fstat(top))
        while self._stack:
            folder = self._stack[-1]
            for seen in self._in_order(folder):
                yield seen
                if stat.S_ISDIR(seen.status.st_mode):
                    self._descend(seen)
                    if self._stack[-1] is not folder:
                        break
            else:
                self._climb()

    def _in_order(self, folder: _Folder) -> Iterator[Seen]:
        """Yield what an open folder holds, from where it was left to go down."""
        handle, above = self._handle(folder), f"{folder.path}/" if folder.path else ""
        for name in folder.names:
            path = above + name
            try:
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except OSError as cause:
                if not vanished(cause):
                    raise unreadable(path, cause) from cause
                self.left_out.vanished.append(path)
                continue
            if path == LOST_AND_FOUND and stat.S_ISDIR(status.st_mode) and status.st_uid == 0:
                continue
            yield Seen(path, name, handle, status)

    def _open_root(self) -> int:
        try:
            handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._push("", handle)
        except OSError as cause:
            raise SourceUnavailable(
                f"cannot open {self._root}: {(cause.strerror or str(cause)).lower()}",
                hint="Look whether the volume is mounted there, and whether we may enter it.",
            ) from cause
        return handle

    def _push(self, path: str, handle: int) -> None:
        """Enter an open folder. Closes the handle of the folder far above."""
        status = os.fstat(handle)
        folder = _Folder(path, iter(()), (status.st_dev, status.st_ino), handle)
        self._stack.append(folder)
        folder.names = iter(sorted(os.listdir(handle)))
        if len(self._stack) > OPEN_FOLDERS:
            self._stack[-OPEN_FOLDERS - 1].close()

    def _descend(self, seen: Seen) -> None:
        if seen.status.st_dev != self._stack[0].identity[0]:
            self.left_out.mounts.append(seen.path)
            return
        try:
            handle = os.open(seen.name, _FOLDER, dir_fd=seen.folder)
            self._push(seen.path, handle)
        except OSError as cause:
            if not vanished(cause):
                raise unreadable(seen.path, cause, seen.status) from cause
            self.left_out.vanished.append(seen.path)

    def _climb(self) -> None:
        """Leave the folder whose names are done; open the one above again where it was closed."""
        done = self._stack.pop()
        if self._stack and self._stack[-1].handle is None:
            above = self._stack[-1]
            above.handle = os.open("..", _FOLDER, dir_fd=self._handle(done))
            status = os.fstat(above.handle)
            if (status.st_dev, status.st_ino) != above.identity:
                raise TemporaryFailure(
                    "a folder of the tree was moved while it was walked", hint="The next run walks it anew."
                )
        done.close()

    def _handle(self, folder: _Folder) -> int:
        assert folder.handle is not None  # noqa: S101 - only folders above the lowest OPEN_FOLDERS are closed
        return folder.handle
