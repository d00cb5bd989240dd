"""What reading a file taught, behind its bytes in the stream: so it is kept whole with them when they are unchanged.

    data | n × (u64 offset | u64 length) | u32 n | u64 length of the file | 32 SHA-256 of the data

The data are the file's extents, back to back; what lies between them is a hole. A file without holes has no extents
in its trailer (n is 0, and the data has the file's length). An empty file has no stream at all.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drtool.errors import Corrupt

Extent = tuple[int, int]  # offset and length in bytes

_EXTENT = struct.Struct(">QQ")
_END = struct.Struct(">IQ32s")
SIZE: Final = _END.size  # of the trailer of a file without holes


@dataclass(frozen=True, slots=True)
class Trailer:
    """length in bytes, holes included; extents rise and do not touch; sha256 is that of the data, holes left out."""

    length: int
    extents: tuple[Extent, ...]
    sha256: bytes

    @property
    def data_size(self) -> int:
        """Bytes of the stream before the trailer."""
        return sum(length for _, length in self.extents)

    @property
    def has_holes(self) -> bool:
        """Whether the file is more than its data."""
        return self.data_size != self.length

    def encode(self) -> bytes:
        """Return the bytes behind the data."""
        extents = self.extents if self.has_holes else ()
        return b"".join(
            [
                *(_EXTENT.pack(*extent) for extent in extents),
                _END.pack(len(extents), self.length, self.sha256),
            ]
        )


def encode_whole(data: bytes) -> bytes:
    """Return the bytes behind the data of a file without holes."""
    return _END.pack(0, len(data), hashlib.sha256(data).digest())


def trailer_size(end: bytes) -> int:
    """Return how many bytes the trailer has; end are at least the last SIZE bytes of the stream. Raises Corrupt."""
    if len(end) < SIZE:
        raise Corrupt("a file's bytes end before its trailer")
    count: int = _END.unpack_from(end, len(end) - SIZE)[0]
    return SIZE + count * _EXTENT.size


def decode(value: bytes, stream_size: int) -> Trailer:
    """Return the trailer that value is; stream_size is that of all the stream, in bytes. Raises Corrupt."""
    if len(value) < SIZE or len(value) != trailer_size(value):
        raise Corrupt("a file's trailer has a wrong length")
    _, length, sha256 = _END.unpack_from(value, len(value) - SIZE)
    extents = tuple(_EXTENT.iter_unpack(value[:-SIZE]))
    data_size = stream_size - len(value)
    if 0 < data_size == length and not extents:
        extents = ((0, length),)
    _check(extents, length, data_size)
    return Trailer(length, extents, sha256)


def decode_end(stream: bytes) -> Trailer:
    """Return the trailer at the end of a whole stream. Raises Corrupt."""
    size = trailer_size(stream)
    return decode(stream[-size:], len(stream))


def _check(extents: Sequence[Extent], length: int, data_size: int) -> None:
    """Return when extents rise, lie inside of the file, and are as long as the data. Raises Corrupt."""
    end = 0
    for offset, size in extents:
        if offset < end or not size:
            raise Corrupt("a file's trailer names parts that overlap")
        end = offset + size
    if end > length or sum(size for _, size in extents) != data_size:
        raise Corrupt("a file's trailer names other parts than its bytes have")
