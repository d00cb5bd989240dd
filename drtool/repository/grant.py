"""Making a grant: for every object of one point the key that was derived for it alone, each tried before it is given.

Never a run's key, a list key or a recovery key. A pack is granted whole: what else it holds can be read, too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from drtool.errors import Corrupt, ObjectMissing, WrongKey
from drtool.repository.format.crypto import Recipient
from drtool.repository.format.grant import Grant, Versions, seal_grant
from drtool.repository.format.names import json_time, split_hash
from drtool.repository.format.places import PackRef, Place
from drtool.repository.format.record import Json, record_key, record_salt, unseal_record
from drtool.repository.lists import read_list
from drtool.repository.reader import Reader
from drtool.repository.records import Stored, fetch_named, stored_objects, versions_of
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot
from drtool.repository.wal import WalStore

_WORKERS: Final = 8  # small GETs at once


@dataclass(frozen=True, slots=True)
class Size:
    """What a grant opens: packs and WAL objects, and the bytes that they take in the store."""

    packs: int
    wal: int
    stored: int


class GrantMaker:
    """Gathers the keys of one point. tick is told the bytes of each object that was tried, from any thread."""

    def __init__(self, repository: Repository, snapshot: Snapshot, tick: Callable[[int], None]) -> None:
        self._repository = repository
        self._records = repository.records
        self._snapshot = snapshot
        self._tick = tick
        self._objects: dict[str, Versions] = {}
        self._record_keys: dict[str, str] = {}
        self._pack_keys: dict[str, str] = {}
        self._private: dict[str, str] = {}
        self._id_keys: list[str] = []

    def add_point(self) -> None:
        """Take the keys of the snapshot, of its lists and of all packs that these name. Raises as a restore would."""
        snapshot, reader = self._snapshot, Reader(self._repository)
        self._id_keys = [reader.id_key(snapshot, reader.read_contents(snapshot)).hex()]
        lists = [*snapshot.streams.content, *snapshot.streams.entries]
        for stored in (
            *stored_objects(self._records.store, "config/"),
            *self._stored({snapshot.name, *lists}),
        ):
            self._objects[stored.name] = versions_of(stored)
        for name in (snapshot.name, *lists):
            self._add_record(name)
        smallest = self._smallest(lists)
        for stored in self._stored({self._pack_name(pack) for pack in smallest}):
            self._objects[stored.name] = versions_of(stored)
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="drtool-grant") as pool:
            for _ in pool.map(lambda item: self._add_pack(reader, *item), smallest.items()):
                pass  # what a thread raises is raised here

    def _smallest(self, lists: Iterable[str]) -> dict[PackRef, Place]:
        """Return the packs of lists, each with the place in it that takes the fewest bytes."""
        found: dict[PackRef, Place] = {}
        for name in lists:
            for place in read_list(self._records, name):
                if place.pack not in found or place.sealed_size < found[place.pack].sealed_size:
                    found[place.pack] = place
        return found

    def _pack_name(self, pack: PackRef) -> str:
        return f"packs/{self._snapshot.volume}/{pack.name}"

    def _stored(self, names: set[str]) -> Iterable[Stored]:
        """Yield those names with their versions, by one listing of each folder. Raises ObjectMissing."""
        folders: dict[str, set[str]] = defaultdict(set)
        for name in names:
            folders[name[: name.rindex("/") + 1]].add(name)
        for folder, wanted in folders.items():
            for stored in stored_objects(self._records.store, folder):
                if stored.name in wanted:
                    wanted.remove(stored.name)
                    yield stored
            for name in wanted:
                raise ObjectMissing(
                    f"{name} is not in the store",
                    hint="`drtool verify --level L0` tells what else is missing.",
                )

    def _add_record(self, name: str) -> None:
        value = fetch_named(self._records.store, name)
        place, salt = self._records.place(split_hash(name)[0]), record_salt(value)
        for list_key in self._records.keys.list_keys:
            with suppress(Corrupt):
                unseal_record(value, list_key, place)
                self._record_keys[salt.hex()] = record_key(list_key, place.kind, salt).hex()
                return
        raise Corrupt(f"{name}: no list key of this repository opens it")

    def _add_pack(self, reader: Reader, pack: PackRef, place: Place) -> None:
        head = reader.head_of(self._snapshot, pack, place)
        keys = self._repository.head_keys().open(head, self._snapshot.volume)
        self._pack_keys[head.salt.hex()] = keys.pack.hex()
        self._private[head.commitment.hex()] = keys.private_id.hex()
        self._tick(self._objects[self._pack_name(pack)][0][2])

    def add_wal(self, wal: WalStore, stored: Iterable[Stored]) -> list[Stored]:
        """Take the keys of those WAL objects that a writer signed, and return these."""
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="drtool-grant") as pool:
            return [found for found in pool.map(lambda each: self._add_wal(wal, each), stored) if found]

    def _add_wal(self, wal: WalStore, stored: Stored) -> Stored | None:
        try:
            facts = wal.open_facts(stored)
            keys = self._repository.head_keys().open(facts.head, self._snapshot.volume)
        except (Corrupt, ObjectMissing):
            return None
        self._record_keys[facts.head.salt.hex()] = facts.key.hex()
        self._pack_keys[facts.head.salt.hex()] = keys.pack.hex()
        self._objects[stored.name] = versions_of(stored)
        self._tick(stored.versions[0].size)
        return stored

    @property
    def objects(self) -> Mapping[str, Versions]:
        """What a runner has to get: names with their versions, oldest first."""
        return self._objects

    @property
    def size(self) -> Size:
        """How much the grant opens."""
        packs, wal = (
            [rows[0][2] for name, rows in self._objects.items() if name.startswith(families)]
            for families in ("packs/", ("wal/", "tail/"))
        )
        return Size(len(packs), len(wal), sum(packs) + sum(wal))

    def seal(self, to: bytes, made: datetime, told: Json) -> bytes:
        """Return the grant, signed by the operator's key at hand and sealed to the runner's public key."""
        signing = self._records.keys.signing
        if signing is None or self._records.keys.role != "operator":
            raise no_operator_key()
        grant = Grant(
            self._repository.config.admin,
            json_time(made),
            self._objects,
            self._record_keys,
            self._pack_keys,
            self._private,
            self._id_keys,
            told,
        )
        place = (self._repository.config.repository_id, self._snapshot.name)
        return seal_grant(grant, place, signing, Recipient(to))


def no_operator_key() -> WrongKey:
    """Return the error for who would grant without the key that says who does."""
    return WrongKey(
        "a grant is signed by an operator, and no operator's key is at hand",
        hint="The file of --recovery-key-file is to hold the kit's DRTOOL-OPERATOR- line too.",
    )
