"""Lists: which chunk of which path lies where. The plain bytes of a `lists/` object.

    u32 P | P × 16 path id
    u32 K | K × (u16 ISO year | u8 ISO week | 32 SHA-256 of the pack | 16 run)
    u32 N | N × (u32 path | u64 offset | u32 pack | u32 position | u32 sealed size | u32 plain size
                 | u32 number in the pack | u8 kind | 32 id)

Places of one path stand together, in offset order; a path may go on in the stream's next list.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from drtool.errors import Corrupt
from drtool.repository.format.crypto import keyed_id

PATH_ID_SIZE: Final = 16
MAX_PLACES: Final = 65_536  # 8 GiB of relation chunks; a list of about 4 MiB

_COUNT = struct.Struct(">I")
_PATH = struct.Struct(f">{PATH_ID_SIZE}s")
_PACK = struct.Struct(">HB32s16s")
_PLACE = struct.Struct(">IQIIIIIB32s")


class PackRef(NamedTuple):
    """A pack as lists name it: `<week>/<sha256>`, and the run that wrote it."""

    name: str
    run: bytes


class Place(NamedTuple):
    """One chunk of a path. position and sizes are in bytes; number is the chunk's place in its pack.

    A tuple, as PackRef is: a run makes one for every chunk, and a frozen dataclass takes five times as long.
    """

    path: bytes
    offset: int
    pack: PackRef
    position: int
    sealed_size: int
    plain_size: int
    number: int
    kind: int
    id: bytes


@lru_cache(maxsize=2)  # a writer asks three times in a row
def path_id(id_key: bytes, path: str) -> bytes:
    """Return the 16 bytes that stand for path in lists: who has no id key cannot test a guess."""
    return keyed_id(id_key, b"path\0" + path.encode())[:PATH_ID_SIZE]


def encode(places: Iterable[Place]) -> bytes:
    """Return places as the plain bytes of a list."""
    paths: dict[bytes, int] = {}
    packs: dict[PackRef, int] = {}
    rows = [
        _PLACE.pack(
            paths.setdefault(place.path, len(paths)),
            place.offset,
            packs.setdefault(place.pack, len(packs)),
            place.position,
            place.sealed_size,
            place.plain_size,
            place.number,
            place.kind,
            place.id,
        )
        for place in places
    ]
    tables = [_COUNT.pack(len(paths)), *paths, _COUNT.pack(len(packs)), *map(_encode_pack, packs)]
    return b"".join([*tables, _COUNT.pack(len(rows)), *rows])


def _encode_pack(pack: PackRef) -> bytes:
    week, _, digest = pack.name.partition("/")
    return _PACK.pack(int(week[:4]), int(week[5:]), bytes.fromhex(digest), pack.run)


class PlaceList:
    """The places of one list, kept as the bytes that they came in: 65 bytes a place."""

    def __init__(self, value: bytes) -> None:
        """Take the plain bytes of a list. Raises Corrupt."""
        paths, at = _table(value, 0, _PATH)
        packs, at = _table(value, at, _PACK)
        self._rows = memoryview(value)[at + _COUNT.size :]
        (count,) = _COUNT.unpack_from(value, at) if at + _COUNT.size <= len(value) else (-1,)
        if len(self._rows) != count * _PLACE.size or count > MAX_PLACES:
            raise Corrupt("a list has a wrong length")
        self._paths: list[bytes] = [row[0] for row in paths]
        self.packs = [PackRef(f"{row[0]:04d}W{row[1]:02d}/{row[2].hex()}", row[3]) for row in packs]
        self._ranges = self._find_ranges()

    def _find_ranges(self) -> dict[bytes, tuple[int, int]]:
        ranges: dict[bytes, tuple[int, int]] = {}
        for number, row in enumerate(_PLACE.iter_unpack(self._rows)):
            if row[0] >= len(self._paths) or row[2] >= len(self.packs):
                raise Corrupt("a list names a path or a pack that it does not hold")
            path = self._paths[row[0]]
            start, end = ranges.get(path, (number, number))
            if end != number:
                raise Corrupt("the places of a path do not stand together in a list")
            ranges[path] = (start, number + 1)
        return ranges

    def __len__(self) -> int:
        return len(self._rows) // _PLACE.size

    def __iter__(self) -> Iterator[Place]:
        """Yield all places in the order of the stream."""
        for row in _PLACE.iter_unpack(self._rows):
            yield self._place(row)

    def __contains__(self, path: bytes) -> bool:
        return path in self._ranges

    @property
    def paths(self) -> Iterable[bytes]:
        """The path ids that this list holds places of."""
        return self._ranges.keys()

    def of(self, path: bytes) -> Iterator[Place]:
        """Yield the places of path that stand in this list, in offset order."""
        begin, end = self._ranges.get(path, (0, 0))
        for row in _PLACE.iter_unpack(self._rows[begin * _PLACE.size : end * _PLACE.size]):
            yield self._place(row)

    def begins_with(self, path: bytes) -> bool:
        """Return whether this list begins with places of path, so that those before may stand in an earlier one."""
        return self._ranges.get(path, (-1, -1))[0] == 0

    def ends_with(self, path: bytes) -> bool:
        """Return whether path's places reach the end of this list, so that the next may go on with them."""
        return self._ranges.get(path, (0, -1))[1] == len(self)

    def _place(self, row: tuple[Any, ...]) -> Place:
        return Place(self._paths[row[0]], row[1], self.packs[row[2]], *row[3:])


def _table(value: bytes, at: int, row: struct.Struct) -> tuple[list[tuple[Any, ...]], int]:
    if at + _COUNT.size > len(value):
        raise Corrupt("a list is cut short")
    (count,) = _COUNT.unpack_from(value, at)
    start = at + _COUNT.size
    end = start + count * row.size
    if end > len(value):
        raise Corrupt("a list is cut short")
    return list(row.iter_unpack(value[start:end])), end
