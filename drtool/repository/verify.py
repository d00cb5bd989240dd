"""Verification of what is stored: L0 names and references, L1 every object's SHA-256, L2 every chunk opened.

A fault names its object. One damaged object does not stop the rest from being looked at.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from drtool.errors import Corrupt, DrtoolError, ObjectMissing, WrongKey
from drtool.repository import rewrap
from drtool.repository import snapshot as snapshots
from drtool.repository.format.crypto import sha256
from drtool.repository.format.names import split_hash
from drtool.repository.heads import pick_head, read_heads
from drtool.repository.lists import read_list, read_stats
from drtool.repository.needs import needs_of
from drtool.repository.reader import Reader
from drtool.repository.records import Record, Stored, Unreadable, stored_objects
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot
from drtool.repository.wal import WalStore, lineages

FAMILIES = (
    *("config", "packs", "lists", "snap", "part", "wal", "tail"),
    *("void", "hold", "using", "plan", "rewrap", "runs", "heads"),
)
_SIGNED = ("void", "hold", "using", "plan", "runs", "heads")

_MARK_SIZE = 4  # bytes of a hash that say when it is an object's turn

Tick = Callable[[int], None]


@dataclass(slots=True)
class Found:
    """What a verification has looked at, each object counted once, and what was wrong, by object name."""

    objects: int = 0
    bytes: int = 0
    points: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)

    def look(self, name: str) -> None:
        """Count an object that L0 opens: records, lists and WAL facts; never packs, so the names fit into memory."""
        if name not in self.opened:
            self.opened.add(name)
            self.objects += 1

    def fault(self, name: str, message: str) -> None:
        """Keep the first thing that is wrong with an object."""
        self.faults.setdefault(name, message)


def check_references(repository: Repository, found: Found) -> None:
    """L0: every signed record counts, and everything that a snapshot names is listed."""
    for volume in repository.config.volumes:
        _check_points(repository, volume, found)
        _check_wal_facts(repository, volume, found)
    _check_head(repository, found)
    for family in _SIGNED:
        for record in repository.records.all(f"{family}/"):
            found.look(record.name)
            if isinstance(record, Unreadable):
                found.fault(record.name, str(record.fault))
    _check_rewraps(repository, found)


def _check_points(repository: Repository, volume: str, found: Found) -> None:
    """Every snapshot of volume counts, its lists can be read, and what they name is there."""
    listed = {stored.name for stored in stored_objects(repository.store, f"packs/{volume}/")}
    points: list[Snapshot] = []
    for each in snapshots.read_snapshots(repository.records, volume):
        found.look(each.name)
        if isinstance(each, Unreadable):
            found.fault(each.name, str(each.fault))
            continue
        points.append(each)
        for name in each.streams.names:
            found.look(name)
        missing = dict(_missing(repository, each, listed))
        for name, message in missing.items():
            found.fault(name, message)
        _tell_not_whole(each, sorted(missing.keys() - {each.name, *each.streams.stats}), found)
    found.points += len(points)
    _check_chain(repository, points, found)


def _tell_not_whole(snapshot: Snapshot, missing: Sequence[str], found: Found) -> None:
    """Name the point itself, too, that something is missing of: no restore can bring it back."""
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        found.fault(snapshot.name, f"is not whole: it needs {missing[0]}{more}")


def _check_rewraps(repository: Repository, found: Found) -> None:
    """Every rewrap was signed by the admin."""
    for stored in stored_objects(repository.store, f"{rewrap.KIND}/"):
        found.look(stored.name)
        try:
            rewrap.check_rewrap(repository.records, stored)
        except (Corrupt, ObjectMissing) as fault:
            found.fault(stored.name, fault.message)


def _missing(repository: Repository, snapshot: Snapshot, listed: set[str]) -> Iterator[tuple[str, str]]:
    """Yield what a snapshot names and does not find: a list that cannot be read, a pack that is not listed."""
    for name in snapshot.streams.stats:
        try:
            read_stats(repository.records, name)
        except (Corrupt, ObjectMissing) as fault:
            yield name, f"{fault.message} (named by {snapshot.name}: the next run reads all its files)"
    for need in needs_of(
        snapshot, lambda name: read_list(repository.records, name).packs, listed.__contains__
    ):
        if need.fault is not None:
            why = need.fault.message if need.pack is None else "is not in the store"
            yield need.name, f"{why} (needed by {snapshot.name})"
        elif need.pack is not None and need.pack.run.hex() not in snapshot.runs:
            yield snapshot.name, f"vouches for no key of {need.name}"


def _check_chain(repository: Repository, points: list[Snapshot], found: Found) -> None:
    """A link is broken where the predecessor is neither there nor in a head or a plan."""
    known = {point.name for point in points} | planned(repository)
    for head in read_heads(repository.records):
        known |= head.live
    for point in points:
        if point.previous is not None and point.previous not in known:
            found.fault(point.name, f"the point before it, {point.previous}, is gone, and no plan says why")


def _check_head(repository: Repository, found: Found) -> None:
    """Everything that the newest head calls live is there."""
    head = pick_head(repository.records, None)
    live = head.live if head else frozenset()
    listed = {stored.name for stored in stored_objects(repository.store, f"{snapshots.KIND}/")}
    for name in sorted(live - listed - planned(repository)):
        found.fault(name, "the newest head calls it live, but it is gone, and no plan says why")


def planned(repository: Repository) -> set[str]:
    """Return the points that a maintainer planned to let go."""
    plans = (record for record in repository.records.all("plan/") if isinstance(record, Record))
    return {name for plan in plans for name in plan.value.get("expire", ())}


def _check_wal_facts(repository: Repository, volume: str, found: Found) -> None:
    """Every WAL object counts, and two of one segment hold the same bytes."""
    for lineage in lineages(repository.records, volume):
        store = WalStore(repository.records, lineage)
        first: dict[tuple[int, str], tuple[str, object]] = {}
        for entry in (*store.segments(), *store.tails()):
            found.look(entry.name)
            try:
                plain_id = store.facts(entry.stored).get("id")
            except (Corrupt, ObjectMissing) as fault:
                found.fault(entry.name, fault.message)
                continue
            if entry.start is None:
                name, known = first.setdefault((entry.timeline, entry.file), (entry.name, plain_id))
                if known != plain_id:
                    found.fault(entry.name, f"holds other bytes than {name}, of the same segment")


@dataclass(frozen=True, slots=True)
class Share:
    """The part of all objects whose turn it is on a day, by their hashes: 0.05 has read everything after 20 days."""

    part: float
    day: int

    def holds(self, name: str) -> bool:
        """Return whether it is the object's turn. One whose name has no hash has it as if its hash were 0."""
        try:
            mark = int.from_bytes(split_hash(name)[1][:_MARK_SIZE], "big")
        except Corrupt:
            mark = 0
        circle = 1 << 8 * _MARK_SIZE
        step = ceil(self.part * circle)
        return (mark - self.day * step) % circle < step


def check_objects(repository: Repository, found: Found, share: Share, *, tick: Tick) -> None:
    """L1: the SHA-256 of every object of share against its name. Takes no key."""
    for family in FAMILIES:
        for stored in stored_objects(repository.store, f"{family}/"):
            if share.holds(stored.name):
                _check_object(repository, stored, found, tick)


def _check_object(repository: Repository, stored: Stored, found: Found, tick: Tick) -> None:
    """Hash an object's versions, one in memory at a time. A store that does not answer is no fault of an object."""
    found.objects += stored.name not in found.opened
    right = 0
    try:
        _, digest = split_hash(stored.name)
        for version in stored.versions:
            value = repository.store.get(stored.name, version.version)
            right += sha256(value) == digest
            found.bytes += len(value)
            tick(len(value))
    except (Corrupt, ObjectMissing) as fault:
        found.fault(stored.name, fault.message)
        return
    if not right:
        found.fault(stored.name, "its bytes are not those of its name")
    elif right < len(stored.versions):
        found.fault(
            stored.name, "a version of it has other bytes than its name says; the right ones are kept"
        )


def check_contents(repository: Repository, reader: Reader, found: Found, share: Share, *, tick: Tick) -> None:
    """L2: open what share holds: the entries of points, the chunks that points need of packs, WAL objects."""
    for volume in repository.config.volumes:
        for snapshot in snapshots.read_snapshots(repository.records, volume):
            if isinstance(snapshot, Snapshot):
                _check_point(reader, snapshot, found, share, tick)
        _check_wal_bodies(repository, volume, found, share, tick)


def _check_point(reader: Reader, snapshot: Snapshot, found: Found, share: Share, tick: Tick) -> None:
    try:
        if share.holds(snapshot.name):
            reader.check(snapshot, reader.read_contents(snapshot))
        reader.open_packs(snapshot, share.holds, tick)
    except (Corrupt, ObjectMissing, WrongKey) as fault:
        found.fault(_named(fault, snapshot.name), fault.message)


def _named(fault: DrtoolError, snapshot: str) -> str:
    """Return the object that a fault's message names, else the snapshot whose reading found it."""
    first = fault.message.split(":")[0].split(" ")[0]
    return first if "/" in first else snapshot


def _check_wal_bodies(repository: Repository, volume: str, found: Found, share: Share, tick: Tick) -> None:
    keys = repository.head_keys()
    for lineage in lineages(repository.records, volume):
        store = WalStore(repository.records, lineage)
        for entry in (*store.segments(), *store.tails()):
            if not share.holds(entry.name):
                continue
            try:
                tick(len(store.read(entry.stored, keys)))
            except (Corrupt, ObjectMissing, WrongKey) as fault:
                found.fault(entry.name, fault.message)
