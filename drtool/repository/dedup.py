"""Deduplication by place: a chunk equal to the one at the same path and offset of an earlier list is not stored again.

Only packs that a LIST shows now and that are younger than the window may be referred to. From half the window on a
pack stops being used at a moment of its own, spread evenly by its name, so that the upload anew has no cliff.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from drtool.repository import snapshot as snapshots
from drtool.repository.format.crypto import sha256
from drtool.repository.format.places import Place, PlaceList, Span
from drtool.repository.format.stats import StatSpan
from drtool.repository.lists import PreviousPlaces, PreviousStats
from drtool.repository.records import Records
from drtool.repository.snapshot import Snapshot
from drtool.repository.storage.base import ObjectStore

_DEAD_RUNS: Final = 4  # whose parts are looked at, the newest ones: each holds lists in memory


class Usable:
    """The packs, or the lists, of a volume that a run begun at start may refer to."""

    def __init__(self, listed: Mapping[str, datetime], window: timedelta, start: datetime) -> None:
        """Take what a LIST showed, `<week>/<sha256>` to the store's time of it."""
        self._listed = listed
        self._window = window
        self._start = start
        self._answers: dict[str, bool] = {}  # one pack is asked for as often as it holds files

    @property
    def ever(self) -> bool:
        """Whether anything could be referred to."""
        return bool(self._window)

    def __contains__(self, name: str) -> bool:
        found = self._answers.get(name)
        if found is None:
            modified = self._listed.get(name)
            found = modified is not None and self._start - modified < self._bearable(name)
            self._answers[name] = found
        return found

    def _bearable(self, name: str) -> timedelta:
        """Return how old this object may be: between half the window and all of it, by its hash."""
        digest = name.rpartition("/")[2]
        return self._window * (0.5 + 0.5 * int(digest[:8], 16) / 0xFFFFFFFF)


class Known:
    """The places of one path in earlier lists, asked for by rising offset; each layer is a stream of lists."""

    def __init__(self, layers: Sequence[Iterable[PlaceList]], path: bytes, usable: Usable) -> None:
        self._cursors = [_Cursor(place for found in lists for place in found.of(path)) for lists in layers]
        self._usable = usable

    def at(self, offset: int) -> Place | None:
        """Return the place at offset of the first layer that has one whose pack may be referred to."""
        found = [cursor.at(offset) for cursor in self._cursors]
        return next((place for place in found if place is not None and place.pack.name in self._usable), None)


class _Cursor:
    """Places in offset order, read as the offsets asked for rise."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = iter(places)
        self._next: Place | None = next(self._places, None)

    def at(self, offset: int) -> Place | None:
        while self._next is not None and self._next.offset < offset:
            self._next = next(self._places, None)
        return self._next if self._next is not None and self._next.offset == offset else None


@dataclass(frozen=True, slots=True)
class Layer:
    """What one earlier run left: where its chunks lie, and by what its artifacts are known to be unchanged."""

    places: PreviousPlaces
    stats: PreviousStats


@dataclass(slots=True)
class Kept:
    """All of an artifact as an earlier run left it: its path id, its bytes, where they lie, and its stat record."""

    path: bytes
    stored: int
    spans: Sequence[Span]
    stat: StatSpan


class Earlier:
    """What a run may refer to: the parts of dead runs, newest first, then the previous point."""

    def __init__(
        self,
        layers: Sequence[Layer],
        packs: Usable,
        lists: Callable[[], Usable],
        runs: Mapping[str, str],
        previous: str | None,
    ):
        """Take the layers, the packs that may be referred to, and what tells the lists; runs as a snapshot's."""
        self._layers = layers
        self._usable = packs
        self._may_use = packs.__contains__
        self._lists = lists
        self.runs = runs
        self.previous = previous

    @property
    def refers(self) -> bool:
        """Whether this run, or the one after it, may refer to anything at all."""
        return self._usable.ever

    def known(self, path: bytes) -> Known:
        """Return the earlier places of path: a dead run may have come through a part of it only."""
        return Known([layer.places.find(path) for layer in self._layers], path, self._usable)

    def whole(self, path: bytes, stat: bytes) -> Kept | None:
        """Return all of path as it was when stat was its record, if each place may be referred to; else None."""
        for layer in self._layers:
            matched = layer.stats.match(path, stat)
            if matched is not None:
                stored, row = matched
                spans = layer.places.spans(path)
                if self._is_whole(spans, stored):
                    return Kept(path, stored, spans, row)
        return None

    def may_name(self, name: str) -> bool:
        """Return whether an earlier list may be referred to: it is listed, and young enough."""
        return _tail(name) in self._lists()

    def same_list(self, plain: bytes) -> str | None:
        """Return the name of an earlier list of the same plain bytes that may be referred to."""
        digest = sha256(plain)
        found = (lists.name_of(digest) for layer in self._layers for lists in (layer.places, layer.stats))
        return next((name for name in found if name is not None and self.may_name(name)), None)

    def _is_whole(self, spans: Sequence[Span], stored: int) -> bool:
        """Return whether places hold stored bytes without a hole: a damaged list is as if it were empty."""
        end = 0
        for span in spans:
            reached = span.reach(end, self._may_use)
            if reached is None:
                return False
            end = reached
        return end == stored


def look_back(records: Records, volume: str, window: timedelta, previous: Snapshot | None) -> Earlier:
    """Return what a run of volume that begins now may refer to. previous is the volume's newest snapshot.

    A window of zero (Redis: dumps share nothing) refers to nothing, and lists nothing.
    """
    name = previous.name if previous else None
    start = records.store.now()
    if not window:
        nothing = Usable({}, window, start)
        return Earlier([], nothing, lambda: nothing, {}, name)
    packs = Usable(_listed(records.store, f"packs/{volume}/"), window, start)
    lists = cache(lambda: Usable(_listed(records.store, f"lists/{volume}/"), window, start))
    runs: dict[str, str] = {}
    layers: list[Layer] = []
    done = {previous.run} if previous else set()
    for part in snapshots.read_parts(records, volume, previous.start if previous else None):
        if len(layers) == _DEAD_RUNS:
            break
        if part.value["run"] not in done:  # the newest part of a run names all that its older ones do
            done.add(part.value["run"])
            layers.append(_layer(records, part.value["content"], part.value.get("stats", [])))
            runs |= part.value["runs"]
    if previous is not None:
        layers.append(_layer(records, previous.streams.content, previous.streams.stats))
        runs |= previous.runs
    return Earlier(layers, packs, lists, runs, name)


def _layer(records: Records, content: Sequence[str], stats: Sequence[str]) -> Layer:
    return Layer(PreviousPlaces(records, content), PreviousStats(records, stats))


def _listed(store: ObjectStore, prefix: str) -> dict[str, datetime]:
    """Return the store's time of everything under prefix, by `<week>/<sha256>`."""
    return {found.name.removeprefix(prefix): found.modified for found in store.list(prefix)}


def _tail(name: str) -> str:
    """Return `<week>/<sha256>` of an object's name."""
    return "/".join(name.split("/")[2:])
