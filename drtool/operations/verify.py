"""`verify`: names and references (L0), every object's SHA-256 (L1), every byte opened again (L2)."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from drtool.operations.coverage import lineage_label, read_held
from drtool.operations.marks import loss_of
from drtool.operations.points import Inventory, never_comes, points_of, take_inventory
from drtool.operations.record import record_run
from drtool.operations.results import Fault, VerifyResult
from drtool.operations.session import Session
from drtool.operations.told import Told
from drtool.repository import verify as check
from drtool.repository.reader import Reader
from drtool.repository.wal import WalStore
from drtool.sources.postgres.branches import left_behind
from drtool.sources.postgres.coverage import Base, find_reach

Level = Literal["L0", "L1", "L2"]


def run_verify(
    session: Session, level: Level = "L1", *, share: float = 1.0, dry_run: bool = False
) -> VerifyResult:
    """Verify the repository at level; share is the part that L1 and L2 read: another one each day, in turn.

    L2 takes a recovery key. Faults are in the result; each names its object. A dry run keeps no record of it.
    """
    begun = time.monotonic()
    repository, progress = session.repository, session.world.progress
    reader = Reader(repository) if level == "L2" else None
    found = check.Found()
    progress.phase("L0: names and references")
    check.check_references(repository, found)
    unfinished = tuple(_check_chains(session, found))
    turn = check.Share(share, repository.store.now().toordinal())
    if level != "L0":
        progress.phase("L1: SHA-256 of objects")
        check.check_objects(repository, found, turn, tick=progress.advance)
    if reader is not None:
        progress.phase("L2: chunks opened")
        check.check_contents(repository, reader, found, turn, tick=progress.advance)
    result = VerifyResult(
        level=level,
        objects=found.objects,
        bytes=found.bytes,
        points=found.points,
        faults=tuple(
            Fault(name, message.removeprefix(name).removeprefix(":").lstrip())
            for name, message in sorted(found.faults.items())
        ),
        seconds=time.monotonic() - begun,
        share=share,
        unfinished=unfinished,
    )
    return replace(result, unrecorded=_record(session, result, dry_run=dry_run))


def _check_chains(session: Session, found: check.Found) -> Iterator[Fault]:
    """Say which PostgreSQL points lack WAL, and whose WAL ends before its time: in a hole, or before a witness.

    Yields the snapshots that can never be restored, and which nobody called a point.
    """
    for volume in session.repository.config.volumes:
        inventory = take_inventory(session, volume)
        starts = (snapshot.start for snapshot in inventory.snapshots.values())
        told = Told(session, volume, min(starts, default=session.repository.store.now()))
        for point in points_of(inventory):
            if point.state not in ("waiting for WAL", "without WAL"):
                continue
            base = next(base for base in inventory.bases if base.id == point.name)
            never = never_comes(inventory, base) or _in_gap(told, inventory, base)
            if never is None or told.was_whole(base):
                found.fault(point.name, f"its WAL is not whole: {point.detail}")
            else:
                yield Fault(point.name, never)
        for name, message in _lost_wal(session, inventory, told):
            found.fault(name, message)


def _lost_wal(session: Session, inventory: Inventory, told: Told) -> Iterator[tuple[str, str]]:
    """Yield each base whose WAL does not reach as far as the store itself, or any point's mark, says it did.

    A gap that was recorded when it happened is known, and no damage: the points before it restore to its beginning.
    """
    for base in inventory.bases:
        held = inventory.held.get(base.lineage)
        reach = find_reach(base, held.wal) if held else None
        if reach is None or not reach.is_restorable:
            continue
        if reach.gap is not None and told.is_recorded(base, reach.gap):
            continue
        for fault in reach.faults():
            yield base.id, fault
        is_left = held is not None and left_behind(base, held.wal) is not None
        loss = loss_of(
            session,
            reach,
            _reread(session, base),
            inventory.volume,
            later_lives=False,
            later_timelines=not is_left,  # what came there was never to be replayed over this one
        )
        if loss is not None:
            yield base.id, loss


def _in_gap(told: Told, inventory: Inventory, base: Base) -> str | None:
    """Return that a receiver said the WAL of base is missing when that happened: then it never comes."""
    held = inventory.held.get(base.lineage)
    gap = find_reach(base, held.wal).gap if held else None
    if gap is None or not told.is_recorded(base, gap):
        return None
    return f"{gap}: a gap that was recorded when it came about"


def _reread(session: Session, base: Base) -> int:
    """Return where the WAL of base ends now: a witness may have come between the two listings."""
    volume = base.id.split("/")[1]
    store = WalStore(session.repository.records, lineage_label(volume, base.lineage))
    return find_reach(base, read_held(store, base.wal_segment_size).wal).end


def _record(session: Session, result: VerifyResult, *, dry_run: bool) -> str | None:
    """Keep the verification, where we hold a key that may say so; return why it was not kept."""
    value = {
        "level": result.level,
        "share": result.share,
        "outcome": "failed" if result.faults else "done",
        "objects": result.objects,
        "bytes": result.bytes,
        "volumes": sorted(session.repository.config.volumes),
        "faults": [fault.name for fault in result.faults[:100]],
    }
    return record_run(session, "verify", value, dry_run=dry_run)
