"""Lists in the store: written while a stream goes by, opened again as the next run meets the same paths."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.format.places import PlaceList, encode
from drtool.repository.records import Records

_CACHED: Final = 3  # lists held at once: a capture meets paths nearly in the order of the one before


def put_list(records: Records, prefix: str, plain: bytes) -> str:
    """Store the plain bytes of a list; return its name. Not signed: the snapshot names it by its hash."""
    return records.put_sealed(prefix, plain)


def read_list(records: Records, name: str) -> PlaceList:
    """Return the list of that name. Raises Corrupt, ObjectMissing."""
    return PlaceList(records.fetch_sealed(name))


class PreviousPlaces:
    """The places of earlier lists by path: the part of a dead run before the previous point.

    A list is fetched when a path is first looked for in it. Of every list that was opened, the paths are kept as
    8 bytes each, so that a path that is in none costs at most one pass over the lists, whatever their number.
    """

    def __init__(self, records: Records, names: Sequence[str]) -> None:
        self._records = records
        self._names = list(names)
        self._held: OrderedDict[int, PlaceList] = OrderedDict()
        self._where: dict[bytes, int] = {}
        self._opened: set[int] = set()
        self._cursor = 0

    def find(self, path: bytes) -> Iterator["PlaceList"]:
        """Yield the lists that hold places of path, in the order of the stream; none for a new path."""
        first = self._locate(path)
        while first is not None and first < len(self._names):
            found = self._list(first)
            if path not in found:
                return
            self._cursor = first
            yield found
            first = first + 1 if found.ends_with(path) else None

    def _locate(self, path: bytes) -> int | None:
        known = self._where.get(path[:8])
        if known is not None:
            return known
        for step in range(len(self._names)):
            number = (self._cursor + step) % len(self._names)
            if number not in self._opened and path in self._list(number):
                return self._where[path[:8]]
        return None

    def _list(self, number: int) -> PlaceList:
        held = self._held.get(number)
        if held is None:
            held = self._read(number)
            if number not in self._opened:
                self._opened.add(number)
                for path in held.paths:
                    known = self._where.get(path[:8], number)
                    self._where[path[:8]] = min(known, number)
            self._held[number] = held
            if len(self._held) > _CACHED:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(number)
        return held

    def _read(self, number: int) -> PlaceList:
        """Return a list, or an empty one where it is damaged or gone: its chunks are then uploaded anew."""
        try:
            return read_list(self._records, self._names[number])
        except (Corrupt, ObjectMissing):
            return PlaceList(encode([]))
