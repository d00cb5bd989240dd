"""One run of the receiver: which instance, its slot and lineage, heartbeats, and gaps on record."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.operations.coverage import Held, read_held
from drtool.operations.descent import line_of, lineage_of, refuse_other_server
from drtool.operations.receive import Hooks, Kept, StoreSink, next_start
from drtool.operations.record import record_run
from drtool.operations.session import Session
from drtool.operations.settings import postgres_settings
from drtool.policy.cadence import tail_interval
from drtool.policy.volumes import PostgresVolume
from drtool.repository.wal import Lineage, WalStore
from drtool.sources.postgres.connection import Identity, PostgresSettings, Replication
from drtool.sources.postgres.coverage import chain
from drtool.sources.postgres.descent import Line, go_on, refuse_other_line
from drtool.sources.postgres.faults import SlotInUse, WalGone
from drtool.sources.postgres.hearing import ServerState
from drtool.sources.postgres.minimal import find_minimal
from drtool.sources.postgres.pooler import refuse_pooler
from drtool.sources.postgres.receiver import Received, Receiver, Start
from drtool.sources.postgres.slot import (
    Beat,
    Slot,
    drop_slot,
    heartbeat,
    inspect_slot,
    make_slot,
    next_heartbeat,
    slot_name,
)
from drtool.sources.postgres.wal import format_lsn, segment_start

_LOOK_EVERY_S = 1.0


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
    """What a receiver brought: from which LSN, how far it came, what it stored, and what it had to leave out."""

    begin: int
    received: Received
    kept: Kept
    gap: str | None = None


def reach_instance(session: Session, volume: PostgresVolume, *, is_asked: bool = False) -> Instance:
    """Connect, look who it is, and see that the slot is there, under its guards.

    On a server that is refused no slot is made: it would keep its WAL for nobody. is_asked: that was looked at before.
    """
    policy = session.need_policy()
    settings = postgres_settings(volume, session.world)
    refuse_pooler(settings)
    with Replication(settings) as replication:
        identity = replication.identify()
    name = slot_name(policy.name, volume.name, session.repository.config.repository)
    if not is_asked and inspect_slot(settings, name) is None:
        refuse_other_server(session, volume)
    slot = make_slot(settings, name, volume.on_backlog)
    return Instance(volume, settings, identity, slot, lineage_of(session, volume.name, identity))


def receive_or_gap(
    session: Session, instance: Instance, following: Following | None = None, held: Held | None = None
) -> Brought:
    """Receive from where the store ends. Where the server has dropped what is next, record that gap and go on.

    So, too, where what is next was written with wal_level = minimal: nothing can be replayed through it. held is what
    is stored, where that was read just before.
    """
    if instance.slot.is_lost:
        _held_and_line(session, instance, held)
        return _receive_behind_gap(session, instance, f"slot {instance.slot.name} was lost", following)
    if instance.slot.active_pid is not None:  # said before a heartbeat is written for nothing
        raise SlotInUse(
            f"slot {instance.slot.name} is active for PID {instance.slot.active_pid}",
            hint="Another receiver is at work; try again when it has ended.",
        )
    try:
        next_one, durable = _next(session, instance, held)
        minimal = None
        if durable < oldest_of(instance):  # nobody kept for us what lies in between
            session.world.progress.note("reading WAL that no slot kept, before it is received")
            minimal = find_minimal(instance.settings, instance.identity, next_one, oldest_of(instance))
        if minimal is None:
            return receive(session, instance, following, next_one)
    except WalGone as gone:
        return _receive_behind_gap(session, instance, gone.message, following)
    # The store holds some of the segment at durable: brought to its end, it would lead into that WAL.
    size = instance.identity.wal_segment_size
    return _receive_behind_gap(session, instance, minimal, following, segment_start(durable, size) + size)


def oldest_of(instance: Instance) -> int:
    """Return the oldest LSN from which the server keeps WAL for us."""
    return instance.slot.restart_lsn or instance.identity.flush_lsn


def _next(session: Session, instance: Instance, known: Held | None) -> tuple[Start, int]:
    """Return where receiving goes on, and up to where what is stored reaches from there without a hole."""
    identity, size = instance.identity, instance.identity.wal_segment_size
    held, line = _held_and_line(session, instance, known)
    timeline, lsn = go_on(line, *next_start(held, line.timeline, oldest_of(instance)), size)
    parts = chain(lsn, [tail for tail in held.wal.tails if tail.timeline == timeline])
    is_first = not held.wal.complete and not held.wal.tails  # nothing is stored that would have to go on
    durable = oldest_of(instance) if is_first else parts[-1].end if parts else lsn
    if known is not None and durable < oldest_of(instance):  # who had the slot has brought more since
        return _next(session, instance, None)
    return Start(identity.system_identifier, timeline, lsn), durable


def _held_and_line(session: Session, instance: Instance, known: Held | None) -> tuple[Held, Line]:
    """Return what is stored, and the line of the server. Raises Refused where that does not go on with it."""
    store = WalStore(session.repository.records, instance.lineage)
    held = read_held(store, instance.identity.wal_segment_size) if known is None else known
    line = line_of(instance.settings)
    refuse_other_line(line, held.wal)
    return held, line


def _receive_behind_gap(
    session: Session, instance: Instance, gap: str, following: Following | None, begin: int = 0
) -> Brought:
    """Record a gap, and receive what is behind it: from the slot on, but not before begin."""
    session.world.progress.note(f"{gap}: what was committed in between cannot be restored")
    renewed = declare_gap(session, instance, gap, begin)
    if following is not None:
        following.gaps.append(gap)
    begin = max(begin, segment_start(oldest_of(renewed), renewed.identity.wal_segment_size))
    start = Start(renewed.identity.system_identifier, renewed.identity.timeline, begin)
    if not _is_written(session, renewed, begin, following):
        return _nothing_yet(session, renewed, gap)
    return replace(receive(session, renewed, following, start), gap=gap)


def _is_written(session: Session, instance: Instance, lsn: int, following: Following | None) -> bool:
    """Tell whether the server has written WAL up to lsn, as a base backup makes it do; who follows waits for it."""
    if instance.identity.flush_lsn >= lsn:
        return True
    _mark_gap(session, instance)
    waiting = threading.Event()
    with Replication(instance.settings) as replication:
        while following is not None and not following.stop():
            if replication.identify().flush_lsn >= lsn:
                return True
            waiting.wait(_LOOK_EVERY_S)
    return False


def _mark_gap(session: Session, instance: Instance) -> None:
    """Store that the server has more WAL than there is here. Else nothing would tell that it does not reach so far."""
    store, size = WalStore(session.repository.records, instance.lineage), instance.identity.wal_segment_size
    at = instance.identity.flush_lsn
    StoreSink(store, size, None).tail(instance.identity.timeline, (at, at), b"", ServerState.untimed(at))


def _nothing_yet(session: Session, instance: Instance, gap: str) -> Brought:
    state = ServerState(instance.identity.flush_lsn, session.world.clock())
    end = instance.identity.flush_lsn
    return Brought(end, Received(instance.identity.timeline, end, state), Kept(), gap)


def declare_gap(session: Session, instance: Instance, why: str, to: int = 0) -> Instance:
    """Record that WAL is missing up to where the slot keeps it from now on, or to; return instance with that slot.

    Raises TemporaryFailure where that cannot be recorded: the gap is then found and declared again by the next run.
    """
    renewed = renew_slot(session, instance)
    to = max(to, segment_start(oldest_of(renewed), renewed.identity.wal_segment_size))
    if (told := record_wal(session, renewed, "gap", why, to=format_lsn(to))) is not None:
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


def receive(session: Session, instance: Instance, following: Following | None, start: Start) -> Brought:
    """Run the receiver once from start on, after a heartbeat.

    Following it goes on, with a tail every tail_every; else it ends at the server's flush position.
    """
    store = WalStore(session.repository.records, instance.lineage)
    size = instance.identity.wal_segment_size
    pulse = _Pulse(session, instance)
    hooks = None
    if following is not None:
        hooks = Hooks(following.durable, lambda: None if following.stop() else pulse.next(), following.kept)
    sink = StoreSink(store, size, pulse.last, hooks)
    receiver = Receiver(instance.settings, instance.slot.name, start, sink)
    if following is None:
        return Brought(start.lsn, receiver.catch_up(), sink.kept)
    every = tail_interval(session.need_policy(), instance.volume)
    return Brought(start.lsn, receiver.follow(every.total_seconds(), following.stop), sink.kept)


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
