"""A stream's places, gathered while its packs are still on their way, and stored as lists; stat records beside.

What stands in an earlier list is copied from there row by row, and a list that is all the same is named again.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import datetime
from typing import NamedTuple, Protocol, cast

from drtool.repository.format import stats
from drtool.repository.format.names import list_prefix
from drtool.repository.format.places import MAX_PLACES, ListEncoder, PackRef, Place, Span
from drtool.repository.format.stats import MAX_STATS, StatSpan
from drtool.repository.lists import put_list
from drtool.repository.packing import Packed
from drtool.repository.records import Records


class EarlierLists(Protocol):
    """Lists of earlier runs that may be named again instead of stored."""

    def may_name(self, name: str) -> bool:
        """Return whether the list of that name may be."""
        ...

    def same_list(self, plain: bytes) -> str | None:
        """Return the name of one that may be, and has these plain bytes."""
        ...


class Unplaced(NamedTuple):
    """A chunk whose pack has no name yet; sent is resolved once the pack is durable."""

    path: bytes
    offset: int
    sent: Future[PackRef]
    packed: Packed
    plain_size: int
    kind: int
    id: bytes


class ListBuilder:
    """The lists of one stream."""

    def __init__(self, records: Records, volume: str, earlier: EarlierLists) -> None:
        self._records = records
        self._volume = volume
        self._earlier = earlier
        self._encoder = ListEncoder()
        self._span: Span | None = None  # the last places of the list, where they stand in an earlier one
        self.room = MAX_PLACES  # how many places this list still takes; with none left, it is to be stored
        self.names: list[str] = []
        self.packs: set[str] = set()
        self.runs: set[str] = set()

    def add(self, row: Unplaced) -> None:
        """Add a chunk of this run."""
        self._copy_span()
        self.room -= 1
        position, sealed_size, number = row.packed
        self._encoder.add(
            row.path, row.offset, row.sent, position, sealed_size, row.plain_size, number, row.kind, row.id
        )

    def add_known(self, place: Place) -> None:
        """Add a chunk that lies in the store already."""
        self._copy_span()
        self.room -= 1
        self._encoder.add(*place)

    def add_span(self, span: Span) -> None:
        """Add places that stand in an earlier list, not more than there is room for."""
        self.room -= span.end - span.begin
        if self._span is not None and self._span.is_followed_by(span):
            self._span.end = span.end
            return
        self._copy_span()
        self._span = Span(span.found, span.begin, span.end, span.name)

    def _copy_span(self) -> None:
        """Copy what only stands in an earlier list so far: not more than one of them is held in memory."""
        if self._span is not None:
            self._encoder.add_span(self._span)
            self._span = None

    def put(self, now: datetime) -> None:
        """Store what was gathered as one list; nothing when there is none."""
        if self.room == MAX_PLACES:
            return
        span = self._span
        if span and span.is_whole and not len(self._encoder) and self._earlier.may_name(span.name):
            self._note(span.packs())
            self.names.append(span.name)
        else:
            self._copy_span()
            packs = [_named(pack) for pack in self._encoder.packs]
            self._note(packs)
            plain = self._encoder.encode(packs)
            self.names.append(_kept(self._records, self._volume, now, plain, self._earlier.same_list))
        self._encoder, self._span, self.room = ListEncoder(), None, MAX_PLACES

    def _note(self, packs: Iterable[PackRef]) -> None:
        for pack in packs:
            self.packs.add(pack.name)
            self.runs.add(pack.run.hex())


class StatBuilder:
    """The stat lists of one run."""

    def __init__(self, records: Records, volume: str, earlier: EarlierLists) -> None:
        self._records = records
        self._volume = volume
        self._earlier = earlier
        self._rows: list[bytes] = []
        self._span: StatSpan | None = None  # the last rows, where they stand in an earlier list
        self._count = 0
        self.names: list[str] = []

    @property
    def full(self) -> bool:
        """Whether the next record needs a new list."""
        return self._count >= MAX_STATS

    def add(self, path: bytes, stored: int, stat: bytes) -> None:
        """Add the record of an artifact that has stored plain bytes in the repository."""
        self._copy_span()
        self._rows.append(stats.encode_row(path, stored, stat))
        self._count += 1

    def add_known(self, span: StatSpan) -> None:
        """Add the record of an artifact that is as an earlier list has it."""
        self._count += span.end - span.begin
        if self._span is not None and self._span.is_followed_by(span):
            self._span.end = span.end
            return
        self._copy_span()
        self._span = span

    def _copy_span(self) -> None:
        if self._span is not None:
            self._rows.append(self._span.encoded())
            self._span = None

    def put(self, now: datetime) -> None:
        """Store what was gathered as one stat list; nothing when there is none."""
        if not self._count:
            return
        span = self._span
        if span and span.is_whole and not self._rows and self._earlier.may_name(span.name):
            self.names.append(span.name)
        else:
            self._copy_span()
            plain = stats.encode(self._rows)
            self.names.append(_kept(self._records, self._volume, now, plain, self._earlier.same_list))
        self._rows, self._span, self._count = [], None, 0


def _named(pack: object) -> PackRef:
    """Return the name of a pack, once it is durable. Raises what its sending raised."""
    return pack.result() if isinstance(pack, Future) else cast(PackRef, pack)


def _kept(
    records: Records, volume: str, now: datetime, plain: bytes, same: Callable[[bytes], str | None]
) -> str:
    """Return the name of a list: an earlier one of the same plain bytes is used again."""
    return same(plain) or put_list(records, list_prefix(volume, now), plain)
