"""Stat lists: by what the next run may know that an artifact is unchanged. The plain bytes of a `lists/` object.

    u32 N | N × (16 path id | u64 stored size | 32 stat)

stat is what the artifact's source makes of all that tells a change; the repository only compares it. Nothing here is a
byte of the application or a plain path, for lists are sealed with the list key alone.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from drtool.errors import Corrupt
from drtool.repository.format.places import PATH_ID_SIZE
from drtool.repository.format.spans import RowSpan

STAT_SIZE: Final = 32
MAX_STATS: Final = 65_536  # 3.5 MiB

_COUNT = struct.Struct(">I")
_ROW = struct.Struct(f">{PATH_ID_SIZE}sQ{STAT_SIZE}s")
_PATH_ID = struct.Struct(f"{PATH_ID_SIZE}s{_ROW.size - PATH_ID_SIZE}x")
_FIRST = struct.Struct(f">Q{PATH_ID_SIZE - 8}x")  # what an index holds of a path id


class PathIndex:
    """Which paths a list holds, in 8 bytes each: what it denies is not there; what it affirms is to be looked for."""

    def __init__(self, paths: Iterable[bytes]) -> None:
        firsts = [first for (first,) in _FIRST.iter_unpack(b"".join(paths))]
        firsts.sort()
        self._firsts = array("Q", firsts)

    def __contains__(self, path: bytes) -> bool:
        (first,) = _FIRST.unpack(path)
        at = bisect_left(self._firsts, first)
        return at < len(self._firsts) and self._firsts[at] == first


def encode_row(path: bytes, stored: int, stat: bytes) -> bytes:
    """Return the row of one artifact: its path id, its plain size in the repository in bytes, its stat record."""
    return _ROW.pack(path, stored, stat)


def encode(rows: Iterable[bytes]) -> bytes:
    """Return rows, made by encode_row or cut out of other lists, as the plain bytes of a stat list."""
    joined = b"".join(rows)
    return _COUNT.pack(len(joined) // _ROW.size) + joined


class StatList:
    """The rows of one stat list, kept as the bytes that they came in: 56 bytes each."""

    def __init__(self, value: bytes) -> None:
        """Take the plain bytes of a stat list. Raises Corrupt."""
        self._rows = memoryview(value)[_COUNT.size :]
        (count,) = _COUNT.unpack_from(value) if len(value) >= _COUNT.size else (-1,)
        if len(self._rows) != count * _ROW.size or count > MAX_STATS:
            raise Corrupt("a stat list has a wrong length")
        self._where: dict[bytes, int] = {path: at for at, path in enumerate(self.paths)}

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def __contains__(self, path: bytes) -> bool:
        return path in self._where

    @property
    def paths(self) -> Iterator[bytes]:
        """The path ids of the rows, in their order."""
        return (row[0] for row in _PATH_ID.iter_unpack(self._rows))

    def of(self, path: bytes) -> tuple[int, bytes]:
        """Return the stored size and the stat record of a path that this list holds."""
        return self.at(self._where[path])

    def row_of(self, path: bytes) -> int:
        """Return the number of the row of a path that this list holds."""
        return self._where[path]

    def at(self, row: int) -> tuple[int, bytes]:
        """Return the stored size and the stat record of a row."""
        _, stored, stat = _ROW.unpack_from(self._rows, row * _ROW.size)
        return stored, stat

    def rows(self, begin: int, end: int) -> bytes:
        """Return the rows from begin to end, exclusive, as they are."""
        return bytes(self._rows[begin * _ROW.size : end * _ROW.size])


class StatSpan(RowSpan[StatList]):
    """Rows that stand together in an earlier stat list."""

    __slots__ = ()

    def encoded(self) -> bytes:
        """Return its rows."""
        return self.found.rows(self.begin, self.end)
