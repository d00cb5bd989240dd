"""A stream's data back to where it lay in the file, holes left between."""

import os
from typing import Final

from drtool.sources.base import STREAM_CHUNK
from drtool.sources.files.trailer import Trailer

_COPIED: Final = STREAM_CHUNK


def write_at(handle: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of data at offset."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(handle, rest, offset)
        offset, rest = offset + written, rest[written:]


def spread_bytes(handle: int, stream: bytes, end: Trailer) -> None:
    """Write the data of a whole stream into an empty file, and give it its length."""
    rest = memoryview(stream)
    for offset, length in end.extents:
        write_at(handle, rest[:length], offset)
        rest = rest[length:]
    if end.has_holes:
        os.ftruncate(handle, end.length)


def spread_file(stream: int, handle: int, end: Trailer) -> None:
    """The same from an open file that holds the stream."""
    at = 0
    for offset, length in end.extents:
        for step in range(0, length, _COPIED):
            count = min(_COPIED, length - step)
            write_at(handle, os.pread(stream, count, at + step), offset + step)
        at += length
    os.ftruncate(handle, end.length)
