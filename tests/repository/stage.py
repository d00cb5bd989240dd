"""A repository in memory with a clock that the test moves, and the few words that the tests of this room share."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from drtool.errors import DrtoolError
from drtool.repository.config import Signer, VolumeLimits
from drtool.repository.dedup import look_back
from drtool.repository.format.crypto import SigningKey
from drtool.repository.format.names import json_time
from drtool.repository.kit import RecoveryLine
from drtool.repository.reader import Reader
from drtool.repository.records import Keys, Records, Unreadable
from drtool.repository.repository import (
    Created,
    Repository,
    Request,
    init_repository,
    open_with_bundle,
    open_with_recovery,
    put_config,
)
from drtool.repository.snapshot import Snapshot, read_snapshots
from drtool.repository.storage.base import ObjectStore, ObjectVersion
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.writer import Pace, Writer

DAY = 86_400
WINDOW = timedelta(days=14)
CHUNK = 64 * 1024
LIMITS = {"files": VolumeLimits(14 * DAY, DAY), "redis": VolumeLimits(0, 3600)}
SMALL = Pace(pack_size=256 * 1024, in_flight=256 * 1024)
Files = Mapping[str, bytes]


class Clock:
    """A clock that moves by a millisecond when read, and further when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def leap(self, **step: float) -> None:
        self.now += timedelta(**step)


class WholeSeconds(MemoryStore):
    """Tells when it received something as S3 does: what is less than a second is cut off."""

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        return map(_cut_off, super().list(prefix))

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        return map(_cut_off, super().versions(prefix))


def _cut_off(found: ObjectVersion) -> ObjectVersion:
    return replace(found, modified=found.modified.replace(microsecond=0))


@dataclass
class Stage:
    """A fresh repository of two recipients and the secrets of its making."""

    clock: Clock
    store: MemoryStore
    created: Created

    @property
    def lines(self) -> dict[str, RecoveryLine]:
        return self.created.recovery

    @property
    def admin(self) -> SigningKey:
        return SigningKey(self.created.admin_seed)

    def writer(self, store: ObjectStore | None = None) -> Repository:
        return open_with_bundle(store or self.store, self.created.writer)

    def recovered(self, recipient: str = "first", store: ObjectStore | None = None) -> Repository:
        return open_with_recovery(store or self.store, self.lines[recipient])

    def records_of(self, role: str, seed: bytes) -> Records:
        """Return the records as who signs with seed as role, and holds the list key."""
        keys = Keys(self.created.writer.list_keys, (), SigningKey(seed), role)
        return Records(self.store, self.writer().config, keys)

    def enrol_signer(self, role: str, seed: bytes) -> None:
        """Write a config in which seed's key may sign as role."""
        repository = self.writer()
        signer = Signer(f"{role}-1", role, SigningKey(seed).public.hex(), json_time(self.clock()))
        signers = [*repository.config.signers, signer]
        put_config(
            self.store,
            repository.config.next(self.clock(), repository.config_sha256, signers=signers),
            self.admin,
        )


def make_stage(*, versioned: bool = True, kind: type[MemoryStore] = MemoryStore) -> Stage:
    clock = Clock()
    store = kind(clock, versioned=versioned)
    request = Request("forum", [("first", None), ("second", None)], LIMITS)
    return Stage(clock, store, init_repository(store, request))


def text(seed: str, size: int) -> bytes:
    """Return size bytes that no two seeds, and no two places, have in common. They do not compress."""
    return hashlib.shake_128(seed.encode()).digest(size)


def back_up(
    repository: Repository,
    files: Files,
    previous: Snapshot | None = None,
    *,
    volume: str = "files",
    pace: Pace = SMALL,
) -> Snapshot:
    """Back files up as one run, and return the snapshot as it is read again."""
    window = timedelta(seconds=repository.config.limits(volume).window)
    earlier = look_back(repository.records, volume, window, previous)
    with Writer(repository, volume, "files", earlier, pace) as writer:
        save(writer, files)
        now = repository.store.now()
        name = writer.commit(now, now, {"fact": "1"})
    return snapshot(repository, name)


def save(writer: Writer, files: Files) -> None:
    writer.header({"policy": "version: 1"})
    for path, data in files.items():
        writer.save(path, {"type": "file"}, [data], size=len(data), chunk_size=CHUNK)


def snapshot(repository: Repository, name: str) -> Snapshot:
    [found] = [one for one in read_snapshots(repository.records, name.split("/")[1]) if one.name == name]
    assert isinstance(found, Snapshot), found
    return found


def snapshots(repository: Repository, volume: str = "files") -> list[Snapshot]:
    return [one for one in read_snapshots(repository.records, volume) if isinstance(one, Snapshot)]


def unreadable(repository: Repository, volume: str = "files") -> list[Unreadable]:
    return [one for one in read_snapshots(repository.records, volume) if isinstance(one, Unreadable)]


def restore(repository: Repository, point: Snapshot, workers: int = 2) -> dict[str, bytes]:
    """Return the artifacts of point, read as a restore reads them: contents, check, pieces."""
    reader = Reader(repository, workers)
    contents = reader.read_contents(point)
    reader.check(point, contents)
    found = {entry.path: bytearray(entry.size) for entry in contents.entries}

    def take(path: str, offset: int, piece: bytes) -> None:
        found[path][offset : offset + len(piece)] = piece

    reader.read(point, contents, take)
    return {path: bytes(data) for path, data in found.items()}


def put(store: ObjectStore, name: str, value: bytes) -> str:
    """Store value under name, whatever hash the name claims."""
    store.put(name, value, hashlib.sha256(value).digest())
    return name


def damage(store: ObjectStore, name: str) -> None:
    """Change one bit of the last byte of the object called name."""
    value = store.get(name)
    put(store, name, value[:-1] + bytes([value[-1] ^ 1]))


def named(prefix: str, value: bytes) -> str:
    return prefix + hashlib.sha256(value).hexdigest()


def message(fault: BaseException) -> str:
    assert isinstance(fault, DrtoolError), repr(fault)
    return fault.message
