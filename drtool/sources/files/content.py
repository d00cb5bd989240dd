"""The bytes of one file, holes left out, and behind them the trailer that says where they belong."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from drtool.sources.base import STREAM_CHUNK
from drtool.sources.files.faults import unreadable
from drtool.sources.files.trailer import Extent, Trailer
from drtool.sources.files.walk import Seen

# O_NONBLOCK: what is a file when it is listed may be a FIFO when it is opened.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK: Final = 512  # the unit of st_blocks
_NO_HOLES_KNOWN: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


@contextmanager
def opened(seen: Seen) -> Iterator[tuple[int, os.stat_result]]:
    """Hold a regular file open; also say what it is now.

    Raises OSError; ENXIO where something of another kind lies there by now.
    """
    handle, status = open_file(seen)
    try:
        yield handle, status
    finally:
        os.close(handle)


def open_file(seen: Seen) -> tuple[int, os.stat_result]:
    """The same, for who closes it."""
    handle = os.open(seen.name, _READ, dir_fd=seen.folder)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    return handle, status


def has_holes(status: os.stat_result) -> bool:
    """Return whether a file may have holes: it takes less of its disk than it is long."""
    return status.st_blocks * _BLOCK < status.st_size


def extents_of(handle: int, status: os.stat_result) -> tuple[Extent, ...]:
    """Return the parts of an open file that are no holes, in order. All of it where the file system cannot tell."""
    size = status.st_size
    if not has_holes(status):
        return ((0, size),) if size else ()
    return tuple(_extents(handle, size))


def _extents(handle: int, end: int, at: int = 0) -> Iterator[Extent]:
    while at < end:
        try:
            start = os.lseek(handle, at, os.SEEK_DATA)
        except OSError as cause:
            if cause.errno in _NO_HOLES_KNOWN:
                yield at, end - at
                return
            if cause.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        if start >= end:
            return
        at = min(os.lseek(handle, start, os.SEEK_HOLE), end)
        yield start, at - start


def data_between(handle: int, begin: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of an open file from begin to end that do not lie in holes."""
    for offset, length in _extents(handle, end, begin):
        for at in range(offset, offset + length, STREAM_CHUNK):
            yield os.pread(handle, min(STREAM_CHUNK, offset + length - at), at)


class Content:
    """The stream of an open file: iterate once. It ends where the file ended when it was opened, or ends by now."""

    def __init__(self, handle: int, seen: Seen) -> None:
        self._handle = handle
        self._path = seen.path
        self._length = seen.status.st_size
        self._extents = extents_of(handle, seen.status)

    @property
    def data_size(self) -> int:
        """Bytes of the file that are no holes."""
        return sum(length for _, length in self._extents)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the data, then the trailer. Raises SourceUnavailable when the disk fails."""
        digest, extents, length = hashlib.sha256(), list[Extent](), self._length
        for offset, size in self._extents:
            end = offset
            for data in self._read(offset, size):
                digest.update(data)
                end += len(data)
                yield data
            if end > offset:
                extents.append((offset, end - offset))
            if end < offset + size:  # it was cut while it was read
                length = end
                break
        yield Trailer(length, tuple(extents), digest.digest()).encode()

    def _read(self, offset: int, size: int) -> Iterator[bytes]:
        end = offset + size
        while offset < end:
            try:
                data = os.pread(self._handle, min(STREAM_CHUNK, end - offset), offset)
            except OSError as cause:
                raise unreadable(self._path, cause) from cause
            if not data:
                return
            offset += len(data)
            yield data
