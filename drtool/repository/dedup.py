"""Deduplication by place: a chunk equal to the one at the same path and offset of an earlier list is not stored again.

Only packs that a LIST shows now and that are younger than the window may be referred to. From half the window on a
pack stops being used at a moment of its own, spread evenly by its name, so that the upload anew has no cliff.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from drtool.repository import snapshot as snapshots
from drtool.repository.format.places import Place, PlaceList
from drtool.repository.lists import PreviousPlaces
from drtool.repository.records import Records
from drtool.repository.snapshot import Snapshot
from drtool.repository.storage.base import ObjectStore


class Usable:
    """The packs of a volume that a run begun at start may refer to."""

    def __init__(self, packs: Mapping[str, datetime], window: timedelta, start: datetime) -> None:
        """Take the packs that a LIST showed, `<week>/<sha256>` to the store's time of them."""
        self._packs = packs
        self._window = window
        self._start = start

    def __contains__(self, pack: str) -> bool:
        modified = self._packs.get(pack)
        return modified is not None and self._start - modified < self._bearable(pack)

    def _bearable(self, pack: str) -> timedelta:
        """Return how old this pack may be: between half the window and all of it, by its hash."""
        digest = pack.rpartition("/")[2]
        return self._window * (0.5 + 0.5 * int(digest[:8], 16) / 0xFFFFFFFF)


class Known:
    """The places of one path in earlier lists, asked for by rising offset."""

    def __init__(
        self, lists: Iterable[PlaceList] = (), path: bytes = b"", usable: Usable | None = None
    ) -> None:
        self._places = (place for found in lists for place in found.of(path))
        self._usable = usable
        self._next: Place | None = next(self._places, None)

    def at(self, offset: int) -> Place | None:
        """Return the place at offset if its pack may be referred to."""
        while self._next is not None and self._next.offset < offset:
            self._next = next(self._places, None)
        place = self._next
        if place is None or place.offset != offset or self._usable is None:
            return None
        return place if place.pack.name in self._usable else None


class Earlier:
    """What a run may refer to: the parts of dead runs, newest first, then the previous point."""

    def __init__(
        self, layers: Sequence[PreviousPlaces], usable: Usable, runs: Mapping[str, str], previous: str | None
    ):
        self._layers = layers
        self._usable = usable
        self.runs = runs
        self.previous = previous

    def known(self, path: bytes) -> Known:
        """Return the earlier places of path: those of the first layer that has any."""
        for layer in self._layers:
            lists = layer.find(path)
            first = next(lists, None)
            if first is not None:
                return Known(chain([first], lists), path, self._usable)
        return Known()


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
