"""A small repository with every family in it, as names and bytes that a test may damage, and a reading of all of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from drtool.repository.config import RecipientEntry, Signer
from drtool.repository.dedup import look_back
from drtool.repository.enrol import add_recipient, rewrap_runs
from drtool.repository.format.crypto import SigningKey, sha256
from drtool.repository.format.names import json_time
from drtool.repository.format.record import Json
from drtool.repository.heads import put_head
from drtool.repository.kit import RecoveryLine
from drtool.repository.lists import read_list
from drtool.repository.records import Record, Unreadable
from drtool.repository.repository import Repository, open_with_recovery, put_config
from drtool.repository.runs import Note, put_note, put_run, read_notes, read_runs
from drtool.repository.snapshot import Snapshot, Void, put_void, read_parts, read_snapshots
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.wal import Lineage, WalStore, lineages
from drtool.repository.writer import Pace, Writer
from tests.repository.stage import WINDOW, Stage, back_up, make_stage, restore, save, text

MAINTAINER, VERIFIER, THIRD = b"m" * 32, b"v" * 32, b"t" * 32
SYSTEM = "7412345678901234567"
SEGMENT = "00000001000000000000000{}"
Everything = dict[str, bytes]


@dataclass(frozen=True)
class Stored:
    value: bytes
    received: datetime


@dataclass(frozen=True)
class Sample:
    """All objects of a repository, and the line of a recipient that was added later.

    needed: the lists and packs of the first point. everything: what is read of it.
    """

    objects: dict[str, Stored]
    third: RecoveryLine
    needed: frozenset[str]
    everything: Everything

    def opened(
        self,
        objects: dict[str, Stored] | None = None,
        *,
        overwrite: tuple[str, bytes] | None = None,
        delete: str | None = None,
    ) -> Repository:
        """Return the repository of objects, or of all of them, as the third recipient sees it.

        In a store with versions one name may then be overwritten or deleted.
        """
        store = store_of(objects or self.objects, versioned=bool(overwrite or delete))
        if overwrite:
            store.put(*overwrite, sha256(overwrite[1]))
        if delete:
            store.delete(delete)
        return open_with_recovery(store, self.third)


def store_of(objects: dict[str, Stored], *, versioned: bool = False) -> MemoryStore:
    now: list[datetime] = []
    store = MemoryStore(lambda: now[-1], versioned=versioned)
    for name, stored in sorted(objects.items(), key=lambda item: item[1].received):
        now.append(stored.received)
        store.put(name, stored.value, sha256(stored.value))
    return store


def make_sample() -> Sample:
    stage = make_stage(versioned=False)
    files = {"a": text("a", 150_000), "b": text("b", 70_000), "small": b"a secret", "empty": b""}
    first = back_up(stage.writer(), files)
    third = _enrol(stage)
    stage.clock.leap(hours=1)
    second = back_up(stage.writer(), {**files, "b": text("B", 70_000)}, first)
    leave_part(stage, {"a": files["a"], "new": text("new", 80_000)})
    voided = back_up(stage.writer(), {"half": b"half"}, second)
    put_void(stage.writer().records, Void(voided.name, "files", voided.run, "half"), stage.clock())
    _write_wal(stage)
    _write_notes(stage, [first.name, second.name])
    objects = {
        found.name: Stored(stage.store.get(found.name), found.modified) for found in stage.store.list("")
    }
    opened = open_with_recovery(stage.store, third)
    return Sample(objects, third, frozenset(_needed(opened, first)), read_everything(opened))


def _needed(repository: Repository, point: Snapshot) -> Iterator[str]:
    for name in (*point.streams.entries, *point.streams.content):
        yield name
        yield from (f"packs/files/{pack.name}" for pack in read_list(repository.records, name).packs)


def _enrol(stage: Stage) -> RecoveryLine:
    line = stage.lines["first"]
    third = RecoveryLine(THIRD, line.trust)
    entry = RecipientEntry("third", third.key.recipient.public.hex())
    add_recipient(stage.recovered(), line.key, stage.admin, entry, stage.clock())
    repository = stage.recovered()
    signers = [
        *repository.config.signers,
        *(
            Signer(f"{role}-1", role, SigningKey(seed).public.hex(), json_time(stage.clock()))
            for role, seed in (("maintainer", MAINTAINER), ("verifier", VERIFIER))
        ),
    ]
    following = repository.config.next(stage.clock(), repository.config_sha256, signers=signers)
    put_config(stage.store, following, stage.admin)
    rewrap_runs(stage.recovered(), stage.admin, third.key.recipient, stage.clock())
    return third


def leave_part(stage: Stage, files: dict[str, bytes]) -> None:
    """Leave what a killed run leaves: packs, lists and a part, no snapshot."""
    repository = stage.writer()
    earlier = look_back(repository.records, "files", WINDOW, None)
    with Writer(repository, "files", "files", earlier, Pace(part_bytes=0, pack_size=100_000)) as writer:
        save(writer, files)


def _write_wal(stage: Stage) -> None:
    wal = WalStore(stage.writer().records, Lineage("files", SYSTEM, 17, 1))
    facts: Json = {"flush": "0/3000060", "time": json_time(stage.clock()), "heartbeat": None}
    for number in (1, 2):
        wal.put(1, SEGMENT.format(number), text(f"segment {number}", 3000), facts)
    wal.put(2, "00000002.history", b"1\t0/3000060\tno reason\n", {})
    for span in ((0x3000000, 0x3000060), (0x3000060, 0x3000060)):
        wal.put_tail(1, SEGMENT.format(3), span, text("tail", span[1] - span[0]), facts)


def _write_notes(stage: Stage, live: list[str]) -> None:
    operator = stage.records_of("operator", stage.created.operator_seed)
    maintainer, verifier = stage.records_of("maintainer", MAINTAINER), stage.records_of("verifier", VERIFIER)
    put_run(stage.writer().records, "backup", stage.clock(), {"run": "1", "outcome": "done"})
    put_run(verifier, "verify", stage.clock(), {"run": "2", "outcome": "done"})
    for number in (1, 2):
        put_note(operator, "hold", "files", stage.clock(), {"reason": f"r{number}", "until": None})
        put_note(operator, "using", "files", stage.clock(), {"points": live[:number], "by": "a restore"})
        put_note(maintainer, "plan", "files", stage.clock(), {"expire": [], "delete": [f"x{number}"]})
        head: Json = {"live": live[:number], "wal": [], "marks": {}, "config": "", "previous": None}
        put_head(maintainer, stage.clock(), head)


def read_everything(repository: Repository) -> Everything:
    """Return all that can be read, by what it is. Raises the first fault."""
    found: Everything = {}
    for point in read_snapshots(repository.records, "files"):
        if isinstance(point, Unreadable):
            raise point.fault
        told = f"{point.chosen} {point.void} {point.end} {point.facts} {point.previous}"
        found[f"point {point.name}"] = told.encode()
        for path, data in restore(repository, point).items():
            found[f"{point.name} {path}"] = data
    for lineage in lineages(repository.records, "files"):
        wal = WalStore(repository.records, lineage)
        for stored in (*wal.segments(), *wal.tails()):
            where = f"{lineage.label} {stored.timeline} {stored.file} {stored.start}-{stored.end}"
            found[where] = wal.read(stored.stored, repository.run_keys())
    for record in _records(repository):
        found[record.name] = repr((record.value, record.role, record.signer)).encode()
    return found


def _records(repository: Repository) -> Iterator[Record]:
    records = repository.records
    notes = (record for note in get_args(Note) for record in read_notes(records, note, "files"))
    for record in (*notes, *read_runs(records), *records.all("heads/"), *records.all("void/")):
        if isinstance(record, Unreadable):
            raise record.fault
        yield record
    yield from read_parts(records, "files", None)
