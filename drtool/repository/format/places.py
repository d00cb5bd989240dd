"""Lists: which chunk of which path lies where. The plain bytes of a `lists/` object.

    u32 P | P × 16 path id
    u32 K | K × (u16 ISO year | u8 ISO week | 32 SHA-256 of the pack | 16 run)
    u32 N | N × (u32 path | u64 offset | u32 pack | u32 position | u32 sealed size | u32 plain size
                 | u32 number in the pack | u8 kind | 32 id)

Places of one path stand together, in offset order; a path may go on in the stream's next list.
"""

import struct
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from drtool.errors import Corrupt
from drtool.repository.format.crypto import keyed_id
from drtool.repository.format.spans import RowSpan

PATH_ID_SIZE: Final = 16
MAX_PLACES: Final = 65_536  # 8 GiB of relation chunks; a list of about 4 MiB

_COUNT = struct.Struct(">I")
_PATH = struct.Struct(f">{PATH_ID_SIZE}s")
_PACK = struct.Struct(">HB32s16s")
_PLACE = struct.Struct(">IQIIIIIB32s")
_PATH_AND_PACK = struct.Struct(">I8xI49x")  # of a place: what all of a list is looked through for


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
    return keyed_id(id_key, b"path\0" + path.encode(), PATH_ID_SIZE)


def encode(places: Iterable[Place]) -> bytes:
    """Return places as the plain bytes of a list."""
    encoder = ListEncoder()
    packs: dict[PackRef, None] = {}
    for place in places:
        packs[place.pack] = None
        encoder.add(*place)
    return encoder.encode(packs)


class ListEncoder:
    """One list being written, a place at a time: 65 bytes each. What stands for a pack may get its name later."""

    def __init__(self) -> None:
        self._paths: dict[bytes, int] = {}
        self._packs: dict[Hashable, int] = {}
        self._rows: list[bytes] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def packs(self) -> Iterable[Hashable]:
        """What stands for the packs, in the order in which they were first named."""
        return self._packs.keys()

    def add(self, path: bytes, offset: int, pack: Hashable, *rest: Any) -> None:
        """Add a place: the fields of Place, in their order."""
        number = self._paths.setdefault(path, len(self._paths))
        self._rows.append(_PLACE.pack(number, offset, self._packs.setdefault(pack, len(self._packs)), *rest))

    def add_span(self, span: "Span") -> None:
        """Add places of an earlier list."""
        for path, offset, pack, *rest in span.rows():
            self.add(span.found.path(path), offset, span.found.packs[pack], *rest)

    def encode(self, packs: Iterable[PackRef]) -> bytes:
        """Return the plain bytes of the list; packs are the names, in the order of `packs`."""
        tables = [_COUNT.pack(len(self._paths)), *self._paths, _COUNT.pack(len(self._packs))]
        return b"".join([*tables, *map(_encode_pack, packs), _COUNT.pack(len(self._rows)), *self._rows])


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
        path_count, pack_count = len(self._paths), len(self.packs)
        begin, last = 0, -1
        for number, (path, pack) in enumerate(_PATH_AND_PACK.iter_unpack(self._rows)):
            if path >= path_count or pack >= pack_count:
                raise Corrupt("a list names a path or a pack that it does not hold")
            if path != last:
                self._note(ranges, last, begin, number)
                begin, last = number, path
        self._note(ranges, last, begin, len(self))
        return ranges

    def _note(self, ranges: dict[bytes, tuple[int, int]], path: int, begin: int, end: int) -> None:
        if begin < end:
            start, until = ranges.get(self._paths[path], (begin, begin))
            if until != begin:
                raise Corrupt("the places of a path do not stand together in a list")
            ranges[self._paths[path]] = (start, end)

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
        for row in self.rows(*self._ranges.get(path, (0, 0))):
            yield self._place(row)

    @property
    def size(self) -> int:
        """Bytes of its places."""
        return len(self._rows)

    def path(self, number: int) -> bytes:
        """Return the path id that a row of this list means by number."""
        return self._paths[number]

    def range_of(self, path: bytes) -> tuple[int, int]:
        """Return the numbers of path's places in this list, the second exclusive."""
        return self._ranges[path]

    def rows(self, begin: int, end: int) -> Iterator[tuple[Any, ...]]:
        """Yield the rows from begin to end, exclusive: fields as those of Place, but path and pack by number."""
        return _PLACE.iter_unpack(self._rows[begin * _PLACE.size : end * _PLACE.size])

    def begins_with(self, path: bytes) -> bool:
        """Return whether this list begins with places of path, so that those before may stand in an earlier one."""
        return self._ranges.get(path, (-1, -1))[0] == 0

    def ends_with(self, path: bytes) -> bool:
        """Return whether path's places reach the end of this list, so that the next may go on with them."""
        return self._ranges.get(path, (0, -1))[1] == len(self)

    def _place(self, row: tuple[Any, ...]) -> Place:
        return Place(self._paths[row[0]], row[1], self.packs[row[2]], *row[3:])


class Span(RowSpan[PlaceList]):
    """Places that stand together in an earlier list."""

    __slots__ = ()

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield its rows as they stand in its list."""
        return self.found.rows(self.begin, self.end)

    def packs(self) -> set[PackRef]:
        """Return the packs that its places lie in."""
        return {self.found.packs[row[2]] for row in self.rows()}

    def split(self, count: int) -> "tuple[Span, Span | None]":
        """Return its first places, at most count, and what is left."""
        if self.end - self.begin <= count:
            return self, None
        middle = self.begin + count
        return Span(self.found, self.begin, middle, self.name), Span(self.found, middle, self.end, self.name)

    def reach(self, offset: int, may_use: Callable[[str], bool]) -> int | None:
        """Return the offset behind its places, where they follow each other from offset on, in packs to be used."""
        packs = self.found.packs
        for row in self.found.rows(self.begin, self.end):
            if row[1] != offset or not may_use(packs[row[2]].name):
                return None
            offset += row[5]
        return offset


def _table(value: bytes, at: int, row: struct.Struct) -> tuple[list[tuple[Any, ...]], int]:
    if at + _COUNT.size > len(value):
        raise Corrupt("a list is cut short")
    (count,) = _COUNT.unpack_from(value, at)
    start = at + _COUNT.size
    end = start + count * row.size
    if end > len(value):
        raise Corrupt("a list is cut short")
    return list(row.iter_unpack(value[start:end])), end
