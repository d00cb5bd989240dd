"""Packs on their way back: whole where most of one is needed, by ranges where little is."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.format.pack import MAX_HEAD, Head, parse_head
from drtool.repository.format.places import Place
from drtool.repository.records import fetch_named, stored_objects
from drtool.repository.storage.base import ObjectStore

_WHOLE: Final = 0.5  # from this share on, one GET of all is cheaper than ranges, and checks the whole SHA-256
_RANGED_PLAIN: Final = (
    32 * 1024 * 1024
)  # plain bytes that a reader of ranges holds until all of them have opened
_GAP: Final = 512 * 1024  # bytes between two chunks that are fetched along rather than asked for apart


@dataclass(frozen=True, slots=True)
class Fetched:
    """A pack, or ranges of one: its head, and pieces of it by where they start. whole: its SHA-256 was checked."""

    head: Head
    spans: Sequence[tuple[int, bytes]]
    whole: bool

    def sealed(self, place: Place) -> memoryview:
        """Return the sealed bytes of a chunk; shorter than its size when the object is."""
        for start, value in self.spans:
            if start <= place.position < start + len(value):
                at = place.position - start
                return memoryview(value)[at : at + place.sealed_size]
        return memoryview(b"")


def fetch_whole(store: ObjectStore, name: str) -> Fetched:
    """Return the whole pack, of whatever version fits its name. Raises Corrupt, ObjectMissing."""
    value = fetch_named(store, name)
    return Fetched(parse_head(value), [(0, value)], whole=True)


def heads(store: ObjectStore, name: str) -> Iterator[Head]:
    """Yield the head of each version of a pack that has one: a small GET each."""
    for stored in stored_objects(store, name):
        for version in stored.versions:
            with suppress(Corrupt, ObjectMissing):
                yield parse_head(store.get(stored.name, version.version, 0, MAX_HEAD))


def fetch_ranges(store: ObjectStore, name: str, places: Sequence[Place]) -> Fetched:
    """Return what places need of a pack, and no more. Raises Corrupt, ObjectMissing."""
    ordered = sorted(places, key=lambda place: place.position)
    head = parse_head(store.get(name, start=0, length=MAX_HEAD))
    spans = [(start, store.get(name, start=start, length=stop - start)) for start, stop in _ranges(ordered)]
    return Fetched(head, spans, whole=False)


def fetch(store: ObjectStore, name: str, places: Sequence[Place]) -> Fetched:
    """Return what places need of a pack; ranges only where all that they hold fits into memory at once.

    Raises Corrupt, ObjectMissing.
    """
    ordered = sorted(places, key=lambda place: place.position)
    end = ordered[-1].position + ordered[-1].sealed_size
    is_much = sum(place.plain_size for place in ordered) > _RANGED_PLAIN
    if is_much or sum(place.sealed_size for place in ordered) >= _WHOLE * end:
        return fetch_whole(store, name)
    return fetch_ranges(store, name, ordered)


def _ranges(ordered: Iterable[Place]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for place in ordered:
        start, stop = place.position, place.position + place.sealed_size
        if ranges and start - ranges[-1][1] <= _GAP:
            ranges[-1] = (ranges[-1][0], max(stop, ranges[-1][1]))
        else:
            ranges.append((start, stop))
    return ranges
