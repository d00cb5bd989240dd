"""`backup`: what is due, capture it, keep it, and say in a run record how it ended. Volume by volume."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from drtool import __version__
from drtool.errors import Corrupt, DrtoolError
from drtool.operations.capture import Kept, capture_volume
from drtool.operations.results import VolumeBackup
from drtool.operations.session import Session
from drtool.policy.cadence import cadence
from drtool.policy.volumes import PostgresVolume, RedisVolume, Volume
from drtool.repository.format.names import json_time
from drtool.repository.records import Unreadable
from drtool.repository.runs import put_run
from drtool.repository.snapshot import Snapshot, read_snapshots


def run_backup(
    session: Session, names: Sequence[str], *, due: bool = False, dry_run: bool = False
) -> list[VolumeBackup]:
    """Back up the named volumes, or all that this version can capture; one that fails does not stop the others."""
    policy = session.need_policy()
    volumes = [policy.volume(name) for name in names] or [
        volume for volume in policy.volumes if _can_capture(volume)
    ]
    return [_one(session, volume, due=due, dry_run=dry_run) for volume in volumes]


def _can_capture(volume: Volume) -> bool:
    return isinstance(volume, PostgresVolume | RedisVolume)


def _one(session: Session, volume: Volume, *, due: bool, dry_run: bool) -> VolumeBackup:
    begun = time.monotonic()
    try:
        session.repository.config.limits(volume.name)
        previous = newest_snapshot(session, volume.name)
        reason = due_reason(session, volume, previous)
        if due and reason is None:
            return VolumeBackup(volume.name, "not due", _next(session, volume, previous))
        if dry_run:
            return VolumeBackup(volume.name, "would run", reason or "asked for")
        kept = capture_volume(session, volume, previous)
        result = _done(volume, kept, reason or "asked for", time.monotonic() - begun)
    except DrtoolError as fault:
        result = VolumeBackup(volume.name, "failed", error=fault, seconds=time.monotonic() - begun)
        if dry_run:
            return result
    return _recorded(session, result)


def newest_snapshot(session: Session, volume: str) -> Snapshot | None:
    """Return the newest snapshot of volume that a writer may build on: not void."""
    found = [
        each
        for each in read_snapshots(session.repository.records, volume)
        if not isinstance(each, Unreadable)
    ]
    usable = [snapshot for snapshot in found if snapshot.void is None]
    return max(usable, key=lambda snapshot: snapshot.received, default=None)


def due_reason(session: Session, volume: Volume, previous: Snapshot | None) -> str | None:
    """Return why a run should begin now, from the repository's state; None when it should not.

    The store's clock decides: it dated the previous run.
    """
    if previous is None:
        return "there is no point yet"
    pace = cadence(session.need_policy(), volume)
    now = session.repository.store.now()
    if not pace.schedule.due(previous.start, now):
        return None
    missed = pace.schedule.missed(previous.start, now)
    return (
        f"{missed} runs were missed since {previous.start:%Y-%m-%d %H:%M} UTC"
        if missed > 1
        else "the schedule says so"
    )


def _next(session: Session, volume: Volume, previous: Snapshot | None) -> str:
    after = previous.start if previous else session.repository.store.now()
    return f"next at {cadence(session.need_policy(), volume).schedule.next(after):%Y-%m-%d %H:%M:%S} UTC"


def _done(volume: Volume, kept: Kept, reason: str, seconds: float) -> VolumeBackup:
    totals = kept.totals
    return VolumeBackup(
        volume=volume.name,
        outcome="done",
        reason=reason,
        point=kept.name,
        moment=kept.moment,
        read=totals.read,
        reused=totals.reused,
        stored=kept.stored,
        seconds=seconds,
        notes=tuple(kept.notes),
    )


def _recorded(session: Session, result: VolumeBackup) -> VolumeBackup:
    """Keep a run record. A record that cannot be kept is told, and does not turn a success into a failure."""
    try:
        now = session.repository.store.now()
        put_run(session.repository.records, "backup", now, _record(session, result, now))
    except DrtoolError as fault:
        return replace(result, notes=(*result.notes, f"the run could not be recorded: {fault.message}"))
    return result


def _record(session: Session, result: VolumeBackup, now: datetime) -> dict[str, object]:
    return {
        "volume": result.volume,
        "outcome": result.outcome,
        "reason": result.reason,
        "error": result.error.message if result.error else None,
        "corrupt": isinstance(result.error, Corrupt),
        "point": result.point,
        "begin": json_time(now - timedelta(seconds=result.seconds)),
        "end": json_time(now),
        "read": result.read,
        "reused": result.reused,
        "stored": result.stored,
        "notes": list(result.notes),
        "policy": session.policy_text,
        "version": __version__,
    }
