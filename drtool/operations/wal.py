"""`wal catch-up`: fetch what the server has flushed, acknowledge what is durable here, and end."""

import time
from datetime import timedelta

from drtool.errors import DrtoolError
from drtool.operations.coverage import Held, lineage_label, read_held
from drtool.operations.descent import lineage_of, refuse_other_server
from drtool.operations.marks import bases_of, told_mark
from drtool.operations.receive import next_start
from drtool.operations.receiving import (
    Brought,
    Instance,
    reach_instance,
    receive_or_gap,
    record_wal,
)
from drtool.operations.results import CatchUp
from drtool.operations.session import Session
from drtool.operations.settings import postgres_settings, postgres_volume
from drtool.policy.cadence import tail_interval
from drtool.policy.volumes import PostgresVolume
from drtool.repository.wal import Lineage, WalStore
from drtool.sources.postgres.connection import Replication
from drtool.sources.postgres.coverage import Base, find_reach
from drtool.sources.postgres.faults import SlotInUse
from drtool.sources.postgres.preview import look
from drtool.sources.postgres.slot import slot_name
from drtool.sources.postgres.wal import format_lsn

_LATE = timedelta(seconds=15)  # that a follower's tail may take from due to stored


def run_catch_up(session: Session, name: str, *, dry_run: bool = False) -> CatchUp:
    """Bring a volume's WAL up to what the server has flushed by now, and say so in a run record.

    Where a follower is at work and keeps up, there is nothing to do: what it has brought is returned. Raises
    SourceUnavailable, StoreUnavailable, Refused; SlotInUse where another receiver has the slot and brings nothing.
    """
    volume = postgres_volume(session.need_policy(), name)
    session.need_writer()
    if dry_run:
        return _would_catch_up(session, volume)
    begun = time.monotonic()
    instance = reach_instance(session, volume)
    session.world.progress.phase(f"{name}: receiving WAL")
    try:
        brought = receive_or_gap(session, instance)
    except SlotInUse as busy:
        return _brought_by_other(session, instance, busy, time.monotonic() - begun)
    except DrtoolError as fault:
        record_wal(session, instance, "failed", fault.message)
        raise
    result = _result(session, instance, brought, time.monotonic() - begun)
    mark = told_mark(result.timeline, brought.received.lsn) if result.restorable else {}
    record_wal(session, instance, "done", f"up to {result.end} of timeline {result.timeline}", **mark)
    return result


def _brought_by_other(session: Session, instance: Instance, busy: SlotInUse, seconds: float) -> CatchUp:
    """Return how far the receiver that has the slot brought the WAL. Raises busy unless it keeps up."""
    held = _held(session, instance)
    stored = [entry for entries in (*held.tails.values(), *held.segments.values()) for entry in entries]
    marks = held.store.tails()
    newest = max((entry.received for entry in (*stored, *marks)), default=None)
    late = tail_interval(session.need_policy(), instance.volume) + _LATE
    mark = max(held.wal.marks, key=lambda mark: mark.time, default=None)
    if newest is None or mark is None or session.repository.store.now() - newest > late:
        raise SlotInUse(
            f"another receiver uses slot {instance.slot.name}, and nothing came from it lately: {busy.message}",
            hint="If it is a follower, look at what it says; a catch-up or a backup ends by itself: try again.",
        ) from busy
    return CatchUp(
        volume=instance.volume.name,
        lineage=instance.lineage.label,
        timeline=mark.timeline,
        begin=format_lsn(mark.flush_lsn),
        end=format_lsn(mark.flush_lsn),
        moment=mark.time,
        segments=0,
        tails=0,
        received=0,
        stored=0,
        seconds=seconds,
        restorable=_is_reached(session, instance, mark.flush_lsn),
        by_follower=True,
    )


def _result(session: Session, instance: Instance, brought: Brought, seconds: float) -> CatchUp:
    received, kept = brought.received, brought.kept
    return CatchUp(
        volume=instance.volume.name,
        lineage=instance.lineage.label,
        timeline=received.timeline,
        begin=format_lsn(brought.begin),
        end=format_lsn(received.lsn),
        moment=received.server.time,
        segments=kept.segments,
        tails=kept.tails,
        received=kept.received,
        stored=kept.stored,
        seconds=seconds,
        gap=brought.gap,
        restorable=_is_reached(session, instance, received.lsn),
    )


def _is_reached(session: Session, instance: Instance, lsn: int) -> bool:
    """Return whether some base backup can be replayed up to lsn."""
    held = _held(session, instance)
    bases = [
        base for base in bases_of(session, instance.volume.name) if _lineage_of(base) == instance.lineage
    ]
    reaches = [find_reach(base, held.wal) for base in bases]
    return any(reach.is_restorable and reach.end >= lsn for reach in reaches)


def _held(session: Session, instance: Instance) -> Held:
    store = WalStore(session.repository.records, instance.lineage)
    return read_held(store, instance.identity.wal_segment_size)


def _lineage_of(base: Base) -> Lineage:
    return lineage_label(base.id.split("/")[1], base.lineage)


def _would_catch_up(session: Session, volume: PostgresVolume) -> CatchUp:
    """Return where a catch-up would begin and end, having made no slot and stored nothing. Raises as that would."""
    settings = postgres_settings(volume, session.world)
    slot = slot_name(session.need_policy().name, volume.name, session.repository.config.repository)
    look(settings, slot, volume.on_backlog)
    held = refuse_other_server(session, volume)
    with Replication(settings) as replication:
        identity = replication.identify()
    lineage = lineage_of(session, volume.name, identity)
    timeline, begin = next_start(held, identity.timeline, identity.flush_lsn)
    return CatchUp(
        volume.name,
        lineage.label,
        timeline,
        format_lsn(begin),
        format_lsn(identity.flush_lsn),
        session.world.clock(),
        segments=0,
        tails=0,
        received=0,
        stored=0,
        seconds=0.0,
    )
