"""Whether a point can be read, before anything is done with it: its lists, its packs by name, the keys of its runs.

A small range of a pack is fetched for each run that wrote what the point needs. What else is in the packs is known
once all of it was read, which is left to the restore.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from drtool.errors import Corrupt, DrtoolError, ObjectMissing, WrongKey
from drtool.repository.format.grant import Versions
from drtool.repository.format.places import PackRef, Place
from drtool.repository.lists import read_list
from drtool.repository.needs import needs_of, pack_name
from drtool.repository.reader import Reader
from drtool.repository.records import stored_objects, versions_of
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot

AT_ONCE: Final = 8  # small GETs at once


@dataclass(frozen=True, slots=True)
class Trial:
    """What keeps a point from being read: the names that are not in the store, and what is wrong with others.

    objects are all that a reader has to get, by name, with the versions of packs.
    """

    missing: tuple[str, ...]
    faults: tuple[DrtoolError, ...]
    objects: Mapping[str, Versions] = field(repr=False)


def try_point(repository: Repository, snapshot: Snapshot) -> Trial:
    """Return what a trial of a point finds: whatever is wrong is in there. Raises what a store that is away raises."""
    missing: dict[str, None] = {}
    faults: list[DrtoolError] = []
    objects: dict[str, Versions] = {
        name: [(None, "", 0)]
        for name in (snapshot.name, *snapshot.streams.content, *snapshot.streams.entries)
    }
    smallest: dict[bytes, tuple[PackRef, Place]] = {}
    listed = {each.name: each for each in stored_objects(repository.store, f"packs/{snapshot.volume}/")}

    def packs_of(name: str) -> Iterable[PackRef]:
        places = read_list(repository.records, name)
        there = {pack for pack in places.packs if pack_name(snapshot, pack) in listed}
        for place in places:
            known = smallest.get(place.pack.run)
            is_smaller = known is None or place.sealed_size < known[1].sealed_size
            if is_smaller and place.pack in there:
                smallest[place.pack.run] = place.pack, place
        return places.packs

    for need in needs_of(snapshot, packs_of, listed.__contains__):
        if isinstance(need.fault, ObjectMissing):
            missing[need.name] = None
        elif need.fault is not None:
            faults.append(need.fault)
        elif need.pack is not None:
            objects[need.name] = versions_of(listed[need.name])
    faults += _locked(Reader(repository), snapshot, smallest)
    return Trial(tuple(missing), tuple(faults), objects)


def _locked(
    reader: Reader, snapshot: Snapshot, wanted: Mapping[bytes, tuple[PackRef, Place]]
) -> Iterator[DrtoolError]:
    """Yield why runs cannot be opened, by the pack of each that was asked for; a key that opens one not, ends it."""
    stop = threading.Event()

    def fault_of(item: tuple[PackRef, Place]) -> DrtoolError | None:
        if stop.is_set():
            return None
        try:
            reader.head_of(snapshot, *item)
        except (Corrupt, ObjectMissing, WrongKey) as fault:
            if isinstance(fault, WrongKey):
                stop.set()
            return fault
        return None

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="drtool-trial") as pool:
        yield from (fault for fault in pool.map(fault_of, wanted.values()) if fault is not None)
