"""`backup`: what is due, capture it, keep it, and say in a run record how it ended. Volume by volume."""

import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Final

from drtool import __version__
from drtool.errors import DrtoolError
from drtool.operations.capture import Kept, capture_volume
from drtool.operations.points import Inventory, points_of, take_inventory
from drtool.operations.preview import look_at_source
from drtool.operations.protection import probe_daily
from drtool.operations.record import record_run
from drtool.operations.results import VolumeBackup
from drtool.operations.session import Session
from drtool.policy.cadence import cadence
from drtool.policy.moments import to_second
from drtool.policy.volumes import FilesVolume, ManifestsVolume, PostgresVolume, RedisVolume, Volume
from drtool.repository.format.record import Json
from drtool.repository.records import arrival
from drtool.repository.snapshot import Snapshot
from drtool.sources.postgres.branches import left_behind
from drtool.sources.postgres.coverage import Base, StoredWal, find_reach

_LAST_WORD_S: Final = 3.0  # of the grace that Kubernetes gives, for the record of who is ended


def run_backup(
    session: Session, names: Sequence[str], *, due: bool = False, dry_run: bool = False
) -> list[VolumeBackup]:
    """Back up the named volumes, or all that this version can capture; one that fails does not stop the others."""
    policy = session.need_policy()
    session.need_writer()
    volumes = [policy.volume(name) for name in names] or [
        volume for volume in policy.volumes if _can_capture(volume)
    ]
    results = [_one(session, volume, due=due, dry_run=dry_run) for volume in volumes]
    if any(result.outcome == "done" for result in results):
        probe_daily(session)
    return results


def _can_capture(volume: Volume) -> bool:
    return isinstance(volume, PostgresVolume | RedisVolume | FilesVolume | ManifestsVolume)


def _one(session: Session, volume: Volume, *, due: bool, dry_run: bool) -> VolumeBackup:
    begun = time.monotonic()
    try:
        result = _attempt(session, volume, due=due, dry_run=dry_run)
    except DrtoolError as fault:
        result = VolumeBackup(volume.name, "failed", error=fault)
    except Exception as fault:  # noqa: BLE001 - a mistake in one source must not keep the other volumes unprotected
        told = DrtoolError(
            f"{volume.name}: unexpected {type(fault).__name__} in {_place(fault)}",
            hint="This is a mistake in drtool: report it. Run the volume alone with --debug to see more.",
        )
        told.__cause__ = fault
        result = VolumeBackup(volume.name, "failed", error=told)
    if result.outcome == "failed":
        session.world.progress.interrupted()
    result = replace(result, seconds=time.monotonic() - begun)
    if dry_run or result.outcome == "not due":
        return result
    told_why = record_run(session, "backup", _record(session, result))
    return replace(result, notes=(*result.notes, told_why)) if told_why else result


def _record_ended(session: Session, volume: Volume, seconds: float) -> None:
    """Say in a run record that somebody ended this, if that goes quickly: the store may be what hangs."""
    told = DrtoolError(f"{volume.name}: was ended before it was done", hint="The next run begins anew.")
    value = _record(session, VolumeBackup(volume.name, "failed", error=told, seconds=seconds))
    telling = threading.Thread(target=record_run, args=(session, "backup", value), daemon=True)
    telling.start()
    telling.join(_LAST_WORD_S)


def _place(fault: Exception) -> str:
    """Return the file and line that raised fault; never its text, which may hold a secret."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{PurePath(frame.filename).name}:{frame.lineno}"


def _attempt(session: Session, volume: Volume, *, due: bool, dry_run: bool) -> VolumeBackup:
    inventory = take_inventory(session, volume.name)
    reason = due_reason(session, volume, inventory)
    if due and reason is None:
        return VolumeBackup(volume.name, "not due", _next(session, volume, inventory))
    why, newest = reason or "it was asked for", newest_snapshot(inventory)
    if dry_run:
        look = look_at_source(session, volume, newest)
        return VolumeBackup(volume.name, "would run", why, notes=look.notes, look=look)
    return _captured(session, volume, newest, why)


def _captured(session: Session, volume: Volume, newest: Snapshot | None, why: str) -> VolumeBackup:
    """Capture volume; who is ended amid that says so in a run record. Before it, nobody knew of a run."""
    begun = time.monotonic()
    try:
        return _done(volume, capture_volume(session, volume, newest), why)
    except Exception:  # put on record with all that fails
        raise
    except BaseException:
        _record_ended(session, volume, time.monotonic() - begun)
        raise


def newest_snapshot(inventory: Inventory) -> Snapshot | None:
    """Return the newest snapshot that a writer may build on: not void."""
    usable = [snapshot for snapshot in inventory.snapshots.values() if snapshot.void is None]
    return max(usable, key=arrival, default=None)


def _newest_listed(inventory: Inventory) -> Snapshot | None:
    """Return the newest snapshot that a restore may choose: only such a run was a success."""
    listed = [inventory.snapshots[point.name] for point in points_of(inventory) if point.state == "listed"]
    return max(listed, key=arrival, default=None)


def due_reason(session: Session, volume: Volume, inventory: Inventory) -> str | None:
    """Return why a run should begin now, from the repository's state; None when it should not.

    The store's clock decides: it dated the previous run. A hole in the WAL behind the newest base is not waited
    out, nor a failover that left it behind.
    """
    newest = _newest_listed(inventory)
    now = session.repository.store.now()
    if newest is None:
        return "there is no restorable point yet"
    if session.repository.config.ended(newest.signer, now):
        return f"there is no restorable point since the system was restored: the newest is by {newest.signer}"
    for base in inventory.bases:
        if base.id == newest.name and (fault := _fault_behind(base, inventory.held[base.lineage].wal)):
            return fault
    schedule = cadence(session.need_policy(), volume).schedule
    if not schedule.due(newest.start, now):
        return None
    missed = schedule.missed(newest.start, now)
    return (
        f"{missed} runs were missed since {to_second(newest.start)}" if missed > 1 else "the schedule says so"
    )


def _fault_behind(base: Base, wal: StoredWal) -> str | None:
    """Return why the newest base backup does not lead on to what is written now."""
    if faults := find_reach(base, wal).faults():
        return f"the WAL behind the newest base backup has a hole: {'; '.join(faults)}"
    left = left_behind(base, wal)
    return f"the newest base backup leads along an old timeline: {left}" if left else None


def _next(session: Session, volume: Volume, inventory: Inventory) -> str:
    newest = _newest_listed(inventory)
    after = newest.start if newest else session.repository.store.now()
    return f"next at {to_second(cadence(session.need_policy(), volume).schedule.next(after))}"


def _done(volume: Volume, kept: Kept, reason: str) -> VolumeBackup:
    return VolumeBackup(
        volume=volume.name,
        outcome="done",
        reason=reason,
        point=kept.name,
        moment=kept.moment,
        read=kept.totals.read,
        reused=kept.totals.reused,
        stored=kept.stored,
        notes=tuple(kept.notes),
    )


def _record(session: Session, result: VolumeBackup) -> Json:
    return {
        "volume": result.volume,
        "outcome": result.outcome,
        "reason": result.reason,
        "error": result.error.message if result.error else None,
        "point": result.point,
        "seconds": result.seconds,
        "read": result.read,
        "reused": result.reused,
        "stored": result.stored,
        "notes": list(result.notes),
        "policy": session.policy_text,
        "version": __version__,
    }
