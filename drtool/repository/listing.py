"""A stream's places, gathered while its packs are still on their way, and stored as lists; stat records beside."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from typing import NamedTuple

from drtool.repository.format import places, stats
from drtool.repository.format.names import list_prefix
from drtool.repository.format.places import MAX_PLACES, PackRef, Place
from drtool.repository.format.stats import MAX_STATS
from drtool.repository.lists import put_list
from drtool.repository.packing import Packed
from drtool.repository.records import Records

SameList = Callable[[bytes], str | None]


class Unplaced(NamedTuple):
    """A chunk whose pack has no name yet; sent is resolved once the pack is durable."""

    path: bytes
    offset: int
    sent: Future[PackRef]
    packed: Packed
    plain_size: int
    kind: int
    id: bytes

    def place(self, pack: PackRef) -> Place:
        """Return the place in its pack, which is durable."""
        position, sealed_size, number = self.packed
        return Place(
            self.path, self.offset, pack, position, sealed_size, self.plain_size, number, self.kind, self.id
        )


class ListBuilder:
    """The lists of one stream."""

    def __init__(self, records: Records, volume: str, same: SameList) -> None:
        self._records = records
        self._volume = volume
        self._same = same
        self._rows: list[Place | Unplaced] = []
        self.names: list[str] = []
        self.packs: set[str] = set()
        self.runs: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether the next place needs a new list."""
        return len(self._rows) >= MAX_PLACES

    def add(self, row: Unplaced) -> None:
        """Add a chunk of this run."""
        self._rows.append(row)

    def add_known(self, place: Place) -> None:
        """Add a chunk that lies in the store already."""
        self._rows.append(place)

    def put(self, now: datetime) -> None:
        """Store what was gathered as one list; nothing when there is none."""
        if not self._rows:
            return
        rows = list(_placed(self._rows))
        self._note(rows)
        self.names.append(_kept(self._records, self._volume, now, places.encode(rows), self._same))
        self._rows = []

    def _note(self, rows: Iterable[Place]) -> None:
        packs = {row.pack for row in rows}
        self.packs |= {pack.name for pack in packs}
        self.runs |= {pack.run.hex() for pack in packs}


class StatBuilder:
    """The stat lists of one run."""

    def __init__(self, records: Records, volume: str, same: SameList) -> None:
        self._records = records
        self._volume = volume
        self._same = same
        self._rows: list[bytes] = []
        self.names: list[str] = []

    @property
    def full(self) -> bool:
        """Whether the next record needs a new list."""
        return len(self._rows) >= MAX_STATS

    def add(self, path: bytes, stored: int, stat: bytes) -> None:
        """Add the record of an artifact that has stored plain bytes in the repository."""
        self._rows.append(stats.encode_row(path, stored, stat))

    def put(self, now: datetime) -> None:
        """Store what was gathered as one stat list; nothing when there is none."""
        if self._rows:
            self.names.append(_kept(self._records, self._volume, now, stats.encode(self._rows), self._same))
            self._rows = []


def _placed(rows: Iterable[Place | Unplaced]) -> Iterator[Place]:
    """Yield the places of rows, once their packs are durable. Neighbours lie in one pack, which is asked for once."""
    sent, pack = None, None
    for row in rows:
        if isinstance(row, Place):
            yield row
            continue
        if pack is None or row.sent is not sent:
            sent, pack = row.sent, row.sent.result()
        yield row.place(pack)


def _kept(records: Records, volume: str, now: datetime, plain: bytes, same: SameList) -> str:
    """Return the name of a list: an earlier one of the same plain bytes is used again."""
    return same(plain) or put_list(records, list_prefix(volume, now), plain)
