"""Deduplication by place: a chunk equal to the one at the same path and offset of an earlier list is not stored again.

Only packs that a LIST shows now and that are younger than the window may be referred to. From half the window on a
pack stops being used at a moment of its own, spread evenly by its name, so that the upload anew has no cliff.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from drtool.repository import snapshot as snapshots
from drtool.repository.format.places import Place, PlaceList
from drtool.repository.lists import PreviousPlaces
from drtool.repository.records import Records
from drtool.repository.snapshot import Snapshot
from drtool.repository.storage.base import ObjectStore

_DEAD_RUNS: Final = 4  # whose parts are looked at, the newest ones: each holds lists in memory


class Usable:
    """The packs of a volume that a run begun at start may refer to."""

    def __init__(self, packs: Mapping[str, datetime], window: timedelta, start: datetime) -> None:
        """Take the packs that a LIST showed, `<week>/<sha256>` to the store's time of them."""
        self._packs = packs
        self._window = window
        self._start = start

    @property
    def ever(self) -> bool:
        """Whether any pack could be referred to."""
        return bool(self._window)

    def __contains__(self, pack: str) -> bool:
        modified = self._packs.get(pack)
        return modified is not None and self._start - modified < self._bearable(pack)

    def _bearable(self, pack: str) -> timedelta:
        """Return how old this pack may be: between half the window and all of it, by its hash."""
        digest = pack.rpartition("/")[2]
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


class Earlier:
    """What a run may refer to: the parts of dead runs, newest first, then the previous point."""

    def __init__(
        self, layers: Sequence[PreviousPlaces], usable: Usable, runs: Mapping[str, str], previous: str | None
    ):
        self._layers = layers
        self._usable = usable
        self.runs = runs
        self.previous = previous

    @property
    def refers(self) -> bool:
        """Whether this run, or the one after it, may refer to anything at all."""
        return self._usable.ever

    def known(self, path: bytes) -> Known:
        """Return the earlier places of path: a dead run may have come through a part of it only."""
        return Known([layer.find(path) for layer in self._layers], path, self._usable)


def look_back(records: Records, volume: str, window: timedelta, previous: Snapshot | None) -> Earlier:
    """Return what a run of volume that begins now may refer to. previous is the volume's newest snapshot.

    A window of zero (Redis: dumps share nothing) refers to nothing, and lists nothing.
    """
    name = previous.name if previous else None
    if not window:
        return Earlier([], Usable({}, window, records.store.now()), {}, name)
    usable = Usable(_packs(records.store, volume), window, records.store.now())
    runs: dict[str, str] = {}
    layers: list[PreviousPlaces] = []
    done = {previous.run} if previous else set()
    for part in snapshots.read_parts(records, volume, previous.start if previous else None):
        if len(layers) == _DEAD_RUNS:
            break
        if part.value["run"] not in done:  # the newest part of a run names all that its older ones do
            done.add(part.value["run"])
            layers.append(PreviousPlaces(records, part.value["content"]))
            runs |= part.value["runs"]
    if previous is not None:
        layers.append(PreviousPlaces(records, previous.streams.content))
        runs |= previous.runs
    return Earlier(layers, usable, runs, name)


def _packs(store: ObjectStore, volume: str) -> dict[str, datetime]:
    prefix = f"packs/{volume}/"
    return {found.name.removeprefix(prefix): found.modified for found in store.list(prefix)}
