"""`points`: what could be restored now, volume by volume, and what could not, and why."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from drtool.errors import Corrupt, SignerEnded, UsageError
from drtool.operations.coverage import Held, base_of, held_lineages
from drtool.operations.marks import newest_loss
from drtool.operations.results import Point, PointState
from drtool.operations.session import Session
from drtool.policy.moments import to_second
from drtool.repository.format.names import parse_name_time
from drtool.repository.records import Unreadable
from drtool.repository.snapshot import Snapshot, read_snapshots
from drtool.sources.postgres.branches import left_behind
from drtool.sources.postgres.coverage import Base, Lineage, StoredWal, find_reach
from drtool.sources.postgres.pitr import restorable_intervals

_ID_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Inventory:
    """All of one volume in the store: snapshots by name, what could not be read, and PostgreSQL's WAL.

    ended are the lineages behind which the config opened another epoch: nobody brings WAL of them any more.
    """

    volume: str
    snapshots: dict[str, Snapshot]
    unreadable: list[Unreadable]
    bases: list[Base]
    held: dict[Lineage, Held]
    ended: frozenset[Lineage] = frozenset()


def list_points(session: Session, volume: str | None = None, *, at: datetime | None = None) -> list[Point]:
    """Return the points of one volume or of all, oldest first. With at, those that can be brought to that moment."""
    names = [volume] if volume else sorted(session.repository.config.volumes)
    found = [point for name in names for point in _told(session, take_inventory(session, name, at))]
    if at is not None:
        found = [point for point in found if point.state == "listed" and _reaches(point, at)]
    return sorted(found, key=lambda point: (point.volume, point.end))


def _told(session: Session, inventory: Inventory) -> Iterator[Point]:
    """Yield the points of an inventory; the one that a restore of all there is begins with says what it lacks."""
    lost = lost_of(session, inventory)
    lacking = dict([lost] if lost else [])
    for point in points_of(inventory):
        details = (point.detail, lacking.get(point.name, ""))
        yield replace(point, detail="; ".join(filter(None, details)))


def lost_of(session: Session, inventory: Inventory) -> tuple[str, str] | None:
    """Return the base backup that a restore of all there is begins with, and what it lacks; None if nothing is lost."""
    listed = [base for base in inventory.bases if _state(inventory.snapshots[base.id]) == "listed"]
    return newest_loss(session, inventory.volume, listed, inventory.held) if listed else None


def _reaches(point: Point, at: datetime) -> bool:
    return point.begin <= at <= point.end if point.source == "postgres" else point.end <= at


def take_inventory(
    session: Session, volume: str, at: datetime | None = None, *, as_of: str | None = None
) -> Inventory:
    """Return everything that the store holds of volume, from listings and signed records alone.

    as_of names a head: what it did not know is left out.
    """
    _check_known(session, volume)
    records = session.repository.records
    snapshots: dict[str, Snapshot] = {}
    unreadable: list[Unreadable] = []
    bases: list[Base] = []
    for each in read_snapshots(records, volume, as_of=as_of):
        if isinstance(each, Unreadable):
            unreadable.append(each)
            continue
        try:
            if each.source == "postgres":
                bases.append(base_of(each))
            snapshots[each.name] = each
        except Corrupt as fault:
            unreadable.append(Unreadable(each.name, fault))
    sizes = {base.lineage: base.wal_segment_size for base in bases}
    held = held_lineages(records, volume, sizes, at) if bases else {}
    return Inventory(volume, snapshots, unreadable, bases, held, frozenset(_ended(session, volume, bases)))


def _ended(session: Session, volume: str, bases: list[Base]) -> Iterator[Lineage]:
    for lineage in {base.lineage for base in bases}:
        system, major = str(lineage.system_identifier), lineage.major
        if lineage.epoch < session.repository.config.newest_epoch(volume, system, major):
            yield lineage


def empty_inventory(volume: str) -> Inventory:
    """Return the inventory of a volume of which there is nothing."""
    return Inventory(volume, {}, [], [], {})


def _check_known(session: Session, volume: str) -> None:
    known = session.repository.config.volumes
    if session.policy is not None and session.policy.find(volume) is not None:
        session.repository.config.limits(volume)  # refuses what the policy got later, and says what mends it
    elif volume not in known:
        raise UsageError(
            f"the repository knows no volume {volume}", hint=f"Its volumes are: {', '.join(sorted(known))}."
        )


def points_of(inventory: Inventory) -> Iterator[Point]:
    """Yield the points of an inventory, those that cannot be restored with their reason."""
    wal = {lineage: held.wal for lineage, held in inventory.held.items()}
    intervals = {interval.base.id: interval for interval in restorable_intervals(inventory.bases, wal)}
    for snapshot in inventory.snapshots.values():
        if snapshot.source != "postgres":
            yield _point(snapshot, snapshot.end, _detail(snapshot))
            continue
        interval = intervals.get(snapshot.name)
        if interval is not None:
            begin = min(base_of(snapshot).end, interval.end)
            left = _left(interval.base, wal[interval.base.lineage])
            details = (*(interval.faults or (_detail(snapshot),)), left)
            yield _point(snapshot, interval.end, "; ".join(filter(None, details)), begin=begin)
        else:
            yield _waiting(snapshot, inventory)
    for unreadable in inventory.unreadable:
        moment = moment_of(unreadable.name)
        yield Point(
            volume=inventory.volume,
            source="",
            id=_id(unreadable.name),
            name=unreadable.name,
            begin=moment,
            end=moment,
            size=0,
            stored=0,
            state="writer ended" if isinstance(unreadable.fault, SignerEnded) else "unreadable",
            detail=why_of(unreadable),
        )


def _left(base: Base, wal: StoredWal) -> str:
    left = left_behind(base, wal)
    return f"it is restored along the old timeline alone: {left}" if left else ""


def why_of(unreadable: Unreadable) -> str:
    """Return why a point cannot be read, without its name."""
    return str(unreadable.fault).removeprefix(f"{unreadable.name}: ")


def _waiting(snapshot: Snapshot, inventory: Inventory) -> Point:
    base = base_of(snapshot)
    held = inventory.held.get(base.lineage)
    why = "; ".join(find_reach(base, held.wal).faults()) if held else "none of its WAL is in the store"
    never = never_comes(inventory, base)
    point = _point(snapshot, base.end, never or why)
    if point.state != "listed":
        return point
    return replace(point, state="waiting for WAL" if never is None else "without WAL")


def never_comes(inventory: Inventory, base: Base) -> str | None:
    """Return why WAL that base lacks never comes; None if it may come yet."""
    held = inventory.held.get(base.lineage)
    never = left_behind(base, held.wal) if held else None
    if never is None and base.lineage in inventory.ended:
        return f"nobody brings it any more: epoch {base.lineage.epoch} ended when the system was restored"
    return never


def _point(snapshot: Snapshot, end: datetime, detail: str, *, begin: datetime | None = None) -> Point:
    return Point(
        volume=snapshot.volume,
        source=snapshot.source,
        id=_id(snapshot.name),
        name=snapshot.name,
        begin=begin or snapshot.begin,
        end=end,
        size=snapshot.size,
        stored=snapshot.stored,
        state=_state(snapshot),
        detail=detail,
        writer=snapshot.signer,
    )


def _state(snapshot: Snapshot) -> PointState:
    if snapshot.void is not None:
        return "void"
    if snapshot.late:
        return "late"
    return "suspect" if snapshot.suspect else "listed"


def _detail(snapshot: Snapshot) -> str:
    if snapshot.void:
        return snapshot.void
    if snapshot.late:
        return f"reached the store after its deadline of {to_second(snapshot.deadline)}"
    if snapshot.suspect:
        return "is dated before a head that does not know it: somebody chose its date"
    if snapshot.versions > 1:
        return f"has {snapshot.versions} versions in the store: somebody wrote to its name again"
    return "DEGRADED: the server found damaged pages" if snapshot.facts.get("degraded") else ""


def _id(name: str) -> str:
    return name.rpartition("-")[2][:_ID_DIGITS]


def moment_of(name: str) -> datetime:
    """Return the time that a snapshot's name says."""
    return parse_name_time(name.split("/")[2].partition("-")[0])
