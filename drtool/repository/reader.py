"""From a snapshot back to plain bytes: lists → packs → chunks, each authenticated and held against its id.

Packs are fetched by several threads and each only once per list; pieces are handed out in any order. Nothing is handed
out that did not authenticate, and nothing at all before `check` has found every artifact complete.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from drtool.errors import Corrupt, ObjectMissing, WrongKey
from drtool.repository.fetch import Fetched, fetch, fetch_ranges, fetch_whole, heads
from drtool.repository.format.crypto import keyed_id
from drtool.repository.format.pack import CONTENT, ChunkSeal, Head
from drtool.repository.format.places import PackRef, Place, path_id
from drtool.repository.format.record import Json
from drtool.repository.lists import read_list
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot
from drtool.repository.storage.base import ObjectStore

Take = Callable[[bytes, int, bytes], object]
Fetch = Callable[[ObjectStore, str, Sequence[Place]], Fetched]


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An artifact of a snapshot: its path, plain size in bytes, and what its source said of it."""

    path: str
    size: int
    entry: Json


@dataclass(frozen=True, slots=True)
class Contents:
    """What a snapshot holds: the header of its run, and its entries."""

    header: Json
    entries: Sequence[StoredEntry]


class Reader:
    """Reads snapshots with a recovery key, or with a grant."""

    def __init__(self, repository: Repository, workers: int = 3) -> None:
        self._repository = repository
        self._records = repository.records
        self._keys = repository.head_keys()
        self._workers = workers

    def read_contents(self, snapshot: Snapshot) -> Contents:
        """Return the header and the entries of snapshot. Raises Corrupt, ObjectMissing, WrongKey."""
        pieces: dict[int, bytes] = {}
        for _, offset, data in self._read(snapshot, snapshot.streams.entries):
            pieces[offset] = data
        end = 0
        for offset in sorted(pieces):
            if offset != end:
                raise Corrupt(f"{snapshot.name}: its entries are not complete at byte {end}")
            end += len(pieces[offset])
        lines = b"".join(pieces[offset] for offset in sorted(pieces)).splitlines()
        if not lines:
            raise Corrupt(f"{snapshot.name} has no entries")
        try:
            rows = [json.loads(line) for line in lines]
            entries = [StoredEntry(row["path"], row["size"], row["entry"]) for row in rows if "path" in row]
            return Contents({name: row[name] for row in rows if "path" not in row for name in row}, entries)
        except (ValueError, KeyError, TypeError) as fault:
            raise Corrupt(f"{snapshot.name}: its entries are malformed") from fault

    def check(self, snapshot: Snapshot, contents: Contents) -> None:
        """Return when every artifact's places follow each other from 0 to its size. Raises Corrupt."""
        reached: dict[bytes, int] = defaultdict(int)
        for name in snapshot.streams.content:
            for place in read_list(self._records, name):
                if place.offset != reached[place.path]:
                    raise Corrupt(
                        f"{snapshot.name}: the places of an artifact do not follow each other in {name}"
                    )
                reached[place.path] += place.plain_size
        for entry, mark in self._marked(snapshot, contents):
            if reached.pop(mark, 0) != entry.size:
                raise Corrupt(f"{snapshot.name}: {entry.path} is not complete in the lists")
        if any(reached.values()):
            raise Corrupt(f"{snapshot.name}: the lists hold an artifact that has no entry")

    def id_key(self, snapshot: Snapshot, contents: Contents) -> bytes:
        """Return the id key of the writer that made the snapshot. Raises Corrupt when we hold none that fits."""
        listed = {
            path for name in snapshot.streams.content[:1] for path in read_list(self._records, name).paths
        }
        for key in self._records.keys.id_keys:
            if not listed or any(path_id(key, entry.path) in listed for entry in contents.entries):
                return key
        raise Corrupt(f"{snapshot.name}: no id key of this repository made its path ids")

    def _marked(self, snapshot: Snapshot, contents: Contents) -> list[tuple[StoredEntry, bytes]]:
        """Return the entries with their path ids."""
        key = self.id_key(snapshot, contents)
        return [(entry, path_id(key, entry.path)) for entry in contents.entries]

    def head_of(self, snapshot: Snapshot, ref: PackRef, place: Place) -> Head:
        """Return the head of a pack, once the chunk at place has opened under it. Raises as `_fetched`."""
        name = f"packs/{snapshot.volume}/{ref.name}"
        fetched, ranged = self._fetched(snapshot, ref, name, [place], fetch_ranges)
        if ranged is None:
            for _ in self._cut(snapshot, ref, fetched, [place]):
                pass
        return fetched.head

    def read(self, snapshot: Snapshot, contents: Contents, take: Callable[[str, int, bytes], None]) -> None:
        """Hand every piece of every artifact to take(path, offset, bytes), from several threads, in any order."""
        paths = {mark: entry.path for entry, mark in self._marked(snapshot, contents)}

        def hand_over(mark: bytes, offset: int, data: bytes) -> None:
            take(paths[mark], offset, data)

        for name in snapshot.streams.content:
            self._run(self._by_pack(name), lambda ref, places: self._open(snapshot, ref, places, hand_over))

    def open_packs(
        self, snapshot: Snapshot, wanted: Callable[[str], bool], tick: Callable[[int], None]
    ) -> None:
        """Open every piece of content that lies in the packs that are wanted, by name. tick is told the plain bytes."""

        def count(_mark: bytes, _offset: int, data: bytes) -> None:
            tick(len(data))

        for name in snapshot.streams.content:
            grouped = {
                ref: places
                for ref, places in self._by_pack(name).items()
                if wanted(f"packs/{snapshot.volume}/{ref.name}")
            }
            self._run(grouped, lambda ref, places: self._open(snapshot, ref, places, count))

    def _read(self, snapshot: Snapshot, names: Sequence[str]) -> Iterator[tuple[bytes, int, bytes]]:
        found: list[tuple[bytes, int, bytes]] = []
        for name in names:
            for ref, places in self._by_pack(name).items():
                self._open(snapshot, ref, places, lambda *piece: found.append(piece))
        yield from found

    def _by_pack(self, name: str) -> dict[PackRef, list[Place]]:
        grouped: dict[PackRef, list[Place]] = defaultdict(list)
        for place in read_list(self._records, name):
            grouped[place.pack].append(place)
        return grouped

    def _run(
        self, grouped: Mapping[PackRef, list[Place]], work: Callable[[PackRef, list[Place]], None]
    ) -> None:
        """Do work for each pack in threads; the first fault ends it all and is raised."""
        stop = threading.Event()

        def one(ref: PackRef, places: list[Place]) -> None:
            if not stop.is_set():
                work(ref, places)

        with ThreadPoolExecutor(self._workers, thread_name_prefix="drtool-read") as pool:
            futures: set[Future[None]] = {pool.submit(one, ref, places) for ref, places in grouped.items()}
            try:
                while futures:
                    done, futures = wait(futures, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
            finally:
                stop.set()

    def _open(self, snapshot: Snapshot, ref: PackRef, places: Sequence[Place], take: Take) -> None:
        """Cut places out of one pack, and hand each to take once. What take raises is its own, and is not retried."""
        for place, plain in self._cut_named(snapshot, ref, places):
            take(place.path, place.offset, plain)

    def _cut_named(
        self, snapshot: Snapshot, ref: PackRef, places: Sequence[Place]
    ) -> Iterator[tuple[Place, bytes]]:
        name = f"packs/{snapshot.volume}/{ref.name}"
        try:
            yield from self._cut_once(snapshot, ref, name, places)
        except Corrupt as fault:
            if name in fault.message:
                raise
            raise Corrupt(f"{name}: {fault.message}", hint=fault.hint or "Restore another point.") from fault

    def _cut_once(
        self, snapshot: Snapshot, ref: PackRef, name: str, places: Sequence[Place]
    ) -> Iterator[tuple[Place, bytes]]:
        """Yield each place's plain bytes once."""
        fetched, ranged = self._fetched(snapshot, ref, name, places)
        yield from self._cut(snapshot, ref, fetched, places) if ranged is None else ranged

    def _fetched(
        self, snapshot: Snapshot, ref: PackRef, name: str, places: Sequence[Place], how: Fetch = fetch
    ) -> tuple[Fetched, list[tuple[Place, bytes]] | None]:
        """Return what was fetched of a pack, and all places' plain bytes where ranges were.

        Ranges are not known to be those of the name until they open: where one does not, a whole pack of any version
        that fits is returned. Raises WrongKey where no version is for the keys at hand, Corrupt, ObjectMissing.
        """
        store = self._repository.store
        try:
            fetched = how(store, name, places)
            ranged = None if fetched.whole else list(self._cut(snapshot, ref, fetched, places))
        except (Corrupt, ObjectMissing):
            fetched, ranged = fetch_whole(store, name), None
        except WrongKey:
            if not any(self._is_ours(snapshot, head) for head in heads(store, name)):
                raise
            fetched, ranged = fetch_whole(store, name), None
        return fetched, ranged

    def _is_ours(self, snapshot: Snapshot, head: Head) -> bool:
        try:
            self._keys.open(head, snapshot.volume)
        except (Corrupt, WrongKey):
            return False
        return True

    def _cut(
        self, snapshot: Snapshot, ref: PackRef, fetched: Fetched, places: Sequence[Place]
    ) -> Iterator[tuple[Place, bytes]]:
        head = fetched.head
        self._check_head(snapshot, ref, head)
        keys = self._keys.open(head, snapshot.volume)
        seal = ChunkSeal(keys.pack, head.salt, head.repository, snapshot.volume)
        for place in places:
            plain = seal.unseal(place.number, place.kind, place.plain_size, fetched.sealed(place))
            self._check_id(keys.private_id, place, plain)
            yield place, plain

    def _check_head(self, snapshot: Snapshot, ref: PackRef, head: Head) -> None:
        if head.repository != self._repository.config.repository_id or head.run != ref.run:
            raise Corrupt("the pack belongs to another repository or run than its list says")
        if snapshot.runs.get(head.run.hex()) != head.commitment.hex():
            raise Corrupt("the pack's key is not the one that the signed snapshot vouches for")

    def _check_id(self, private: bytes, place: Place, plain: bytes) -> None:
        keys = self._records.keys.id_keys if place.kind == CONTENT else (private,)
        if all(keyed_id(key, plain) != place.id for key in keys):
            raise Corrupt("a chunk's bytes are not those of its id")
