"""`wal catch-up`: fetch what the server has flushed, acknowledge what is durable here, and end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from drtool.errors import DrtoolError
from drtool.operations.coverage import lineage_label, read_held
from drtool.operations.marks import bases_of
from drtool.operations.receive import Kept, StoreSink, next_start
from drtool.operations.record import record_run
from drtool.operations.results import CatchUp
from drtool.operations.session import Session
from drtool.operations.settings import postgres_settings, postgres_volume
from drtool.policy.cadence import tail_interval
from drtool.policy.volumes import PostgresVolume
from drtool.repository.wal import Lineage, WalStore
from drtool.sources.postgres.connection import Identity, PostgresSettings, Replication
from drtool.sources.postgres.coverage import Base, find_reach
from drtool.sources.postgres.faults import WalGone
from drtool.sources.postgres.receiver import Received, Receiver, Start
from drtool.sources.postgres.slot import Slot, drop_slot, heartbeat, make_slot, slot_name
from drtool.sources.postgres.wal import format_lsn, segment_start


@dataclass(frozen=True, slots=True)
class Instance:
    """One PostgreSQL instance of a policy, with the slot that keeps WAL for us and the lineage that it writes."""

    volume: PostgresVolume
    settings: PostgresSettings
    identity: Identity
    slot: Slot
    lineage: Lineage


@dataclass(frozen=True, slots=True)
class Brought:
    """What a receiver brought: how far it came, what it stored, and what it had to leave out."""

    received: Received
    kept: Kept
    gap: str | None = None


def reach_instance(session: Session, volume: PostgresVolume) -> Instance:
    """Connect, look who it is, and see that the slot is there, under its guards."""
    policy = session.need_policy()
    settings = postgres_settings(volume, session.world)
    with Replication(settings) as replication:
        identity = replication.identify()
    name = slot_name(policy.name, volume.name, session.repository.config.repository)
    slot = make_slot(settings, name, volume.on_backlog)
    lineage = Lineage(
        volume.name, str(identity.system_identifier), identity.major, epoch_of(session, volume, identity)
    )
    return Instance(volume, settings, identity, slot, lineage)


def epoch_of(session: Session, volume: PostgresVolume, identity: Identity) -> int:
    """Return the newest epoch that the config opened for this system; the first needs none."""
    opened = [
        epoch.epoch
        for epoch in session.repository.config.epochs
        if (epoch.volume, epoch.system, epoch.major)
        == (volume.name, str(identity.system_identifier), identity.major)
    ]
    return max(opened, default=1)


def run_catch_up(session: Session, name: str, *, dry_run: bool = False) -> CatchUp:
    """Bring a volume's WAL up to what the server has flushed by now, and say so in a run record.

    Raises SourceUnavailable, StoreUnavailable, Refused; TemporaryFailure while another receiver uses the slot.
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
    except DrtoolError as fault:
        record_wal(session, instance, "failed", fault.message)
        raise
    result = _result(session, instance, brought, time.monotonic() - begun)
    record_wal(session, instance, "done", f"up to {result.end} of timeline {result.timeline}")
    return result


def receive_or_gap(
    session: Session, instance: Instance, *, stop: Callable[[], bool] | None = None
) -> Brought:
    """Receive from where the store ends. Where the server has dropped what is next, record that gap and go on."""
    if instance.slot.is_lost:
        return _receive_behind_gap(session, instance, f"slot {instance.slot.name} was lost", stop)
    try:
        return receive(session, instance, stop=stop)
    except WalGone as gone:
        return _receive_behind_gap(session, instance, gone.message, stop)


def _receive_behind_gap(
    session: Session, instance: Instance, gap: str, stop: Callable[[], bool] | None
) -> Brought:
    session.world.progress.note(f"{gap}: what was committed in between cannot be restored")
    return replace(receive(session, declare_gap(session, instance, gap), fresh=True, stop=stop), gap=gap)


def declare_gap(session: Session, instance: Instance, why: str) -> Instance:
    """Record that WAL is missing up to where the slot keeps it from now on; return instance with that slot."""
    renewed = renew_slot(session, instance)
    oldest = renewed.slot.restart_lsn or renewed.identity.flush_lsn
    to = format_lsn(segment_start(oldest, renewed.identity.wal_segment_size))
    record_wal(session, renewed, "gap", why, to=to)
    return renewed


def renew_slot(session: Session, instance: Instance) -> Instance:
    """Return instance with a slot that keeps WAL from now on. A slot that still keeps some is left alone."""
    again = reach_instance(session, instance.volume)
    if not again.slot.is_lost:
        return again
    drop_slot(again.settings, again.slot.name)
    make_slot(again.settings, again.slot.name, again.volume.on_backlog)
    return reach_instance(session, again.volume)


def receive(
    session: Session,
    instance: Instance,
    *,
    fresh: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Brought:
    """Run the receiver once, after a heartbeat. fresh begins at the slot, whatever the store holds.

    With stop it follows, with a tail every tail_every, until stop() is true; else it ends at the server's flush
    position.
    """
    store = WalStore(session.repository.records, instance.lineage)
    size = instance.identity.wal_segment_size
    beat = heartbeat(
        instance.settings, {"policy": session.need_policy().name, "volume": instance.volume.name}
    )
    oldest = instance.slot.restart_lsn or instance.identity.flush_lsn
    if fresh:
        timeline, lsn = instance.identity.timeline, oldest - oldest % size
    else:
        timeline, lsn = next_start(read_held(store, size), instance.identity.timeline, oldest)
    sink = StoreSink(store, size, beat)
    start = Start(instance.identity.system_identifier, timeline, lsn)
    receiver = Receiver(instance.settings, instance.slot.name, start, sink)
    if stop is not None:
        return Brought(
            receiver.follow(tail_interval(session.need_policy(), instance.volume).total_seconds(), stop),
            sink.kept,
        )
    return Brought(receiver.catch_up(), sink.kept)


def _result(session: Session, instance: Instance, brought: Brought, seconds: float) -> CatchUp:
    received, kept = brought.received, brought.kept
    return CatchUp(
        volume=instance.volume.name,
        lineage=instance.lineage.label,
        timeline=received.timeline,
        begin=format_lsn(instance.slot.restart_lsn or 0),
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
    held = read_held(
        WalStore(session.repository.records, instance.lineage), instance.identity.wal_segment_size
    )
    bases = [
        base for base in bases_of(session, instance.volume.name) if _lineage_of(base) == instance.lineage
    ]
    reaches = [find_reach(base, held.wal) for base in bases]
    return any(reach.is_restorable and reach.end >= lsn for reach in reaches)


def _lineage_of(base: Base) -> Lineage:
    return lineage_label(base.id.split("/")[1], base.lineage)


def _would_catch_up(session: Session, volume: PostgresVolume) -> CatchUp:
    """Return where a catch-up would begin and end, having made no slot and stored nothing."""
    settings = postgres_settings(volume, session.world)
    with Replication(settings) as replication:
        identity = replication.identify()
    lineage = Lineage(
        volume.name, str(identity.system_identifier), identity.major, epoch_of(session, volume, identity)
    )
    held = read_held(WalStore(session.repository.records, lineage), identity.wal_segment_size)
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


def record_wal(session: Session, instance: Instance, outcome: str, detail: str, **more: str) -> None:
    """Keep what a receiver did."""
    value = {
        **more,
        "volume": instance.volume.name,
        "lineage": instance.lineage.label,
        "slot": instance.slot.name,
        "outcome": outcome,
        "detail": detail,
    }
    record_run(session, "wal", value)
