"""One run of the receiver: which instance, its slot and lineage, heartbeats, and gaps on record."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.operations.coverage import read_held
from drtool.operations.receive import Hooks, Kept, StoreSink, next_start
from drtool.operations.record import record_run
from drtool.operations.session import Session
from drtool.operations.settings import postgres_settings
from drtool.policy.cadence import tail_interval
from drtool.policy.volumes import PostgresVolume
from drtool.repository.wal import Lineage, WalStore
from drtool.sources.postgres.connection import Identity, PostgresSettings, Replication
from drtool.sources.postgres.faults import SlotInUse, WalGone
from drtool.sources.postgres.pooler import refuse_pooler
from drtool.sources.postgres.receiver import Received, Receiver, Start
from drtool.sources.postgres.slot import (
    Beat,
    Slot,
    drop_slot,
    heartbeat,
    make_slot,
    next_heartbeat,
    slot_name,
)
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
class Following:
    """How a receiver goes on: until stop() is true; durable() is called each time that WAL was stored.

    kept and gaps say what it has brought and missed so far, also where it ends with a fault.
    """

    stop: Callable[[], bool]
    durable: Callable[[], None] = lambda: None
    kept: Kept = field(default_factory=Kept)
    gaps: list[str] = field(default_factory=list)


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
    refuse_pooler(settings)
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
    return session.repository.config.newest_epoch(
        volume.name, str(identity.system_identifier), identity.major
    )


def receive_or_gap(session: Session, instance: Instance, following: Following | None = None) -> Brought:
    """Receive from where the store ends. Where the server has dropped what is next, record that gap and go on."""
    if instance.slot.is_lost:
        return _receive_behind_gap(session, instance, f"slot {instance.slot.name} was lost", following)
    try:
        return receive(session, instance, following)
    except WalGone as gone:
        return _receive_behind_gap(session, instance, gone.message, following)


def _receive_behind_gap(
    session: Session, instance: Instance, gap: str, following: Following | None
) -> Brought:
    session.world.progress.note(f"{gap}: what was committed in between cannot be restored")
    renewed = declare_gap(session, instance, gap)
    if following is not None:
        following.gaps.append(gap)
    return replace(receive(session, renewed, following, fresh=True), gap=gap)


def declare_gap(session: Session, instance: Instance, why: str) -> Instance:
    """Record that WAL is missing up to where the slot keeps it from now on; return instance with that slot.

    Raises TemporaryFailure where that cannot be recorded: the gap is then found and declared again by the next run.
    """
    renewed = renew_slot(session, instance)
    oldest = renewed.slot.restart_lsn or renewed.identity.flush_lsn
    to = format_lsn(segment_start(oldest, renewed.identity.wal_segment_size))
    if (told := record_wal(session, renewed, "gap", why, to=to)) is not None:
        raise TemporaryFailure(
            f"there is a gap in the WAL, and {told}", hint="Run it again when the store answers."
        )
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
    session: Session, instance: Instance, following: Following | None = None, *, fresh: bool = False
) -> Brought:
    """Run the receiver once, after a heartbeat. fresh begins at the slot, whatever the store holds.

    Following it goes on, with a tail every tail_every; else it ends at the server's flush position.
    """
    if instance.slot.active_pid is not None:  # said before a heartbeat is written for nothing
        raise SlotInUse(
            f"slot {instance.slot.name} is active for PID {instance.slot.active_pid}",
            hint="Another receiver is at work; try again when it has ended.",
        )
    store = WalStore(session.repository.records, instance.lineage)
    size = instance.identity.wal_segment_size
    pulse = _Pulse(session, instance)
    oldest = instance.slot.restart_lsn or instance.identity.flush_lsn
    if fresh:
        timeline, lsn = instance.identity.timeline, oldest - oldest % size
    else:
        timeline, lsn = next_start(read_held(store, size), instance.identity.timeline, oldest)
    hooks = None
    if following is not None:
        hooks = Hooks(following.durable, lambda: None if following.stop() else pulse.next(), following.kept)
    sink = StoreSink(store, size, pulse.last, hooks)
    start = Start(instance.identity.system_identifier, timeline, lsn)
    receiver = Receiver(instance.settings, instance.slot.name, start, sink)
    if following is None:
        return Brought(receiver.catch_up(), sink.kept)
    every = tail_interval(session.need_policy(), instance.volume)
    return Brought(receiver.follow(every.total_seconds(), following.stop), sink.kept)


class _Pulse:
    """The heartbeats of one run: the first at once, another behind each tail while the application writes.

    An idle server is left idle, and costs a mark in the store: nothing was committed that a heartbeat would confirm.
    """

    def __init__(self, session: Session, instance: Instance) -> None:
        self._settings = instance.settings
        self._content = {"policy": session.need_policy().name, "volume": instance.volume.name}
        self.last = heartbeat(self._settings, self._content)

    def next(self) -> Beat | None:
        """Return a new heartbeat; None where there was no need, or the server did not take it: its stream will tell."""
        beat = None
        with suppress(SourceUnavailable, TemporaryFailure):
            beat = next_heartbeat(self._settings, self._content, self.last)
        self.last = beat or self.last
        return beat


def record_wal(session: Session, instance: Instance, outcome: str, detail: str, **more: str) -> str | None:
    """Keep what a receiver did; return why it was not kept, None when all is well."""
    value = {
        **more,
        "volume": instance.volume.name,
        "lineage": instance.lineage.label,
        "slot": instance.slot.name,
        "outcome": outcome,
        "detail": detail,
    }
    return record_run(session, "wal", value)
