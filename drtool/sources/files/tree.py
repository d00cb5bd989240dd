"""The target of a restore: folders reached step by step from an open root, so that no planted link leads out of it."""

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from drtool.sources.files.names import to_parts, to_path

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HELD: Final = 256  # folders that are held open
_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600
# Gone, or never made; or something of somebody else is in it, or in its place.
_NOT_OURS: Final = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.ELOOP}
_SPECIAL: Final = {"fifo": stat.S_IFIFO, "character device": stat.S_IFCHR, "block device": stat.S_IFBLK}

_Parts = tuple[bytes, ...]


class Tree:
    """An open directory and what lies below it, by entries' paths. Overwrites nothing. Use as a context.

    Everything raises OSError. What is made belongs to us, and is open to nobody else.
    """

    def __init__(self, root: Path) -> None:
        self._held: OrderedDict[_Parts, int] = OrderedDict()
        self.made: list[str] = []
        self.root = os.open(root, _FOLDER)

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *exc: object) -> None:
        self._let_go()
        os.close(self.root)

    def _let_go(self) -> None:
        while self._held:
            os.close(self._held.popitem()[1])

    def above(self, path: str) -> tuple[int, bytes]:
        """Return the open folder that holds path, and path's name in it; the root is `.` in itself.

        The folder is open until many others were asked for.
        """
        parts = to_parts(path)
        return (self._folder(parts[:-1]), parts[-1]) if parts else (self.root, b".")

    def _folder(self, parts: _Parts) -> int:
        """Return an open folder. From the lowest that is open, it is reached step by step."""
        depth = len(parts)
        while depth and parts[:depth] not in self._held:
            depth -= 1
        handle = self._held[parts[:depth]] if depth else self.root
        if depth:
            self._held.move_to_end(parts[:depth])
        for depth in range(depth + 1, len(parts) + 1):  # noqa: B020 - it goes on from the lowest open one
            handle = self._held[parts[:depth]] = os.open(parts[depth - 1], _FOLDER, dir_fd=handle)
            if len(self._held) > _HELD:
                os.close(self._held.popitem(last=False)[1])
        return handle

    def make_folder(self, path: str) -> None:
        """Make a folder."""
        folder, name = self.above(path)
        os.mkdir(name, _PRIVATE_FOLDER, dir_fd=folder)
        self.made.append(path)

    @contextmanager
    def new_file(self, path: str) -> Iterator[int]:
        """Make a file and hold it open for writing."""
        folder, name = self.above(path)
        handle = os.open(name, _NEW, _PRIVATE_FILE, dir_fd=folder)
        with closing_handle(handle):
            self.made.append(path)
            yield handle

    @contextmanager
    def open(self, path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
        """Hold a file or folder open that is there already; never by a link, and to write none with a second name."""
        folder, name = self.above(path)
        handle = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with closing_handle(handle):
            if flags & os.O_ACCMODE != os.O_RDONLY and os.fstat(handle).st_nlink != 1:
                raise OSError(errno.EMLINK, "somebody else works in the target", path)
            yield handle

    def make_link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        folder, name = self.above(path)
        os.symlink(to_path(target), name, dir_fd=folder)
        self.made.append(path)

    def make_hard_link(self, path: str, first: str) -> None:
        """Give the file at first a second name."""
        folder, name = self.above(first)
        with closing_handle(os.dup(folder)) as first_folder:
            first_name = name
            folder, name = self.above(path)
            os.link(first_name, name, src_dir_fd=first_folder, dst_dir_fd=folder, follow_symlinks=False)
        self.made.append(path)

    @contextmanager
    def new_special(self, path: str, kind: str, device: tuple[int, int]) -> Iterator[str]:
        """Make a FIFO or a device, of major and minor number; yield a way to it by which no link can be followed."""
        folder, name = self.above(path)
        os.mknod(name, _SPECIAL[kind] | _PRIVATE_FILE, os.makedev(*device), dir_fd=folder)
        self.made.append(path)
        with closing_handle(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)) as handle:
            yield f"/proc/self/fd/{handle}"

    def remove(self, path: str) -> None:
        """Remove a file's name."""
        folder, name = self.above(path)
        os.unlink(name, dir_fd=folder)

    def undo(self, paths: Sequence[str]) -> OSError | None:
        """Remove what is at paths, folders before what they hold, as far as it can be; what others made stays.

        Return why something could not be removed that nobody else needs.
        """
        fault = None
        for path in reversed(paths):
            try:
                try:
                    self._remove(path)
                except PermissionError:  # its folders may have the modes of the point, which let nobody write
                    self._open_up(path)
                    self._remove(path)
            except OSError as cause:
                if cause.errno not in _NOT_OURS:
                    fault = OSError(cause.errno, cause.strerror, path)
        return fault

    def _remove(self, path: str) -> None:
        folder, name = self.above(path)
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=folder)

    def _open_up(self, path: str) -> None:
        """Let their owner read, write and enter the folders above path."""
        parts = to_parts(path)
        for depth in range(1, len(parts)):
            with closing_handle(
                os.open(parts[depth - 1], _PLACE, dir_fd=self._folder(parts[: depth - 1]))
            ) as handle:
                mode = stat.S_IMODE(os.fstat(handle).st_mode)
                if mode & _PRIVATE_FOLDER != _PRIVATE_FOLDER:
                    Path(f"/proc/self/fd/{handle}").chmod(mode | _PRIVATE_FOLDER)


@contextmanager
def closing_handle(handle: int) -> Iterator[int]:
    """Close handle in the end."""
    try:
        yield handle
    finally:
        os.close(handle)
