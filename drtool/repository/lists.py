"""Lists in the store: written while a stream goes by, opened again as the next run meets the same paths."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.format import stats
from drtool.repository.format.crypto import sha256
from drtool.repository.format.places import PlaceList, Span, encode
from drtool.repository.format.stats import PathIndex, StatList, StatSpan
from drtool.repository.records import Records

_CACHED: Final = 3  # lists held at once: a capture meets paths nearly in the order of the one before


def put_list(records: Records, prefix: str, plain: bytes) -> str:
    """Store the plain bytes of a list; return its name. Not signed: the snapshot names it by its hash."""
    return records.put_sealed(prefix, plain)


def read_list(records: Records, name: str) -> PlaceList:
    """Return the list of that name. Raises Corrupt, ObjectMissing."""
    return PlaceList(records.fetch_sealed(name))


def read_stats(records: Records, name: str) -> StatList:
    """Return the stat list of that name. Raises Corrupt, ObjectMissing."""
    return StatList(records.fetch_sealed(name))


class _Readable(Protocol):
    """A list that knows whether it holds a path."""

    @property
    def paths(self) -> Iterable[bytes]: ...

    def __contains__(self, path: bytes) -> bool: ...


T = TypeVar("T", bound=_Readable)


class _Lists(Generic[T]):
    """Lists by number, each fetched when a path is first looked for in it; the newest few are held.

    Of every list that was opened an index stays, 8 bytes a path, so that a path that is in none costs at most one pass
    over the lists, whatever their number.
    """

    def __init__(
        self, records: Records, names: Sequence[str], parse: Callable[[bytes], T], empty: bytes
    ) -> None:
        self._records = records
        self._names = names
        self._parse = parse
        self._empty = empty
        self.names_by_hash: dict[bytes, str] = {}  # of the plain bytes of those that were opened
        self._held: OrderedDict[int, T] = OrderedDict()
        self._indexes: dict[int, PathIndex] = {}
        self._current: tuple[int, T] | None = None  # where the last path was found

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> T:
        held = self._held.get(number)
        if held is None:
            held = self._held[number] = self._fetch(number)
            if number not in self._indexes:
                self._indexes[number] = PathIndex(held.paths)
            if len(self._held) > _CACHED:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(number)
        return held

    def name(self, number: int) -> str:
        """Return the name of a list in the store."""
        return self._names[number]

    def locate(self, path: bytes) -> tuple[int, T] | None:
        """Return a list that holds path, and its number: the one that held the path before it is looked at first."""
        if self._current is not None and path in self._current[1]:
            return self._current
        begin = self._current[0] if self._current else 0
        for step in range(len(self)):
            number = (begin + step) % len(self)
            index = self._indexes.get(number)
            if (index is None or path in index) and path in self[number]:
                self._current = (number, self[number])
                return self._current
        return None

    def _fetch(self, number: int) -> T:
        """Return a list, or an empty one where it is damaged or gone: what it knew is then uploaded anew."""
        name = self._names[number]
        try:
            plain = self._records.fetch_sealed(name)
            found = self._parse(plain)
        except (Corrupt, ObjectMissing):
            return self._parse(self._empty)
        self.names_by_hash[sha256(plain)] = name
        return found


class PreviousPlaces:
    """The places of earlier lists by path: the part of a dead run before the previous point."""

    def __init__(self, records: Records, names: Sequence[str]) -> None:
        self._lists = _Lists(records, names, PlaceList, encode([]))

    def name_of(self, plain_hash: bytes) -> str | None:
        """Return the name of a list that was opened, by the SHA-256 of its plain bytes."""
        return self._lists.names_by_hash.get(plain_hash)

    def find(self, path: bytes) -> Iterator[PlaceList]:
        """Yield the lists that hold places of path, in the order of the stream; none for a new path."""
        return (span.found for span in self._through(path))

    def spans(self, path: bytes) -> Sequence[Span]:
        """Return the places of path, list by list, in the order of the stream; none for a new path."""
        located = self._lists.locate(path)
        if located is None:
            return ()
        number, found = located
        begin, end = found.range_of(path)
        if begin > 0 and end < len(found):  # neither the list before nor the one behind can hold more of it
            return (Span(found, begin, end, self._lists.name(number)),)
        return tuple(self._through(path))

    def _through(self, path: bytes) -> Iterator[Span]:
        number = self._first(path)
        while number is not None and number < len(self._lists):
            found = self._lists[number]
            if path not in found:
                return
            yield Span(found, *found.range_of(path), self._lists.name(number))
            number = number + 1 if found.ends_with(path) else None

    def _first(self, path: bytes) -> int | None:
        """Return the list in which the places of path begin: they may fill more than one."""
        located = self._lists.locate(path)
        number = located[0] if located else None
        while number and self._lists[number].begins_with(path) and path in self._lists[number - 1]:
            number -= 1
        return number


class PreviousStats:
    """The stat records of an earlier run by path."""

    def __init__(self, records: Records, names: Sequence[str]) -> None:
        self._lists = _Lists(records, names, StatList, stats.encode([]))

    def name_of(self, plain_hash: bytes) -> str | None:
        """Return the name of a list that was opened, by the SHA-256 of its plain bytes."""
        return self._lists.names_by_hash.get(plain_hash)

    def find(self, path: bytes) -> tuple[int, bytes] | None:
        """Return the stored size in bytes and the stat record of path; None for a new path."""
        located = self._lists.locate(path)
        return located[1].of(path) if located else None

    def match(self, path: bytes, stat: bytes) -> tuple[int, StatSpan] | None:
        """Return the stored size in bytes and the row of path, where stat is its record; else None."""
        located = self._lists.locate(path)
        if located is None:
            return None
        number, found = located
        row = found.row_of(path)
        stored, known = found.at(row)
        return (stored, StatSpan(found, row, row + 1, self._lists.name(number))) if known == stat else None
