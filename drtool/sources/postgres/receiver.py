"""WAL from a reserved slot into a sink, segment by segment. It acknowledges only what the sink has made durable.

    operations → Receiver → WalStream (the socket's thread) ⇒ pieces → Assembler → Sink; then acknowledge

Catch-up fetches what the server has now and ends; following goes on until it is told to stop. Both are this code.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from drtool.errors import Refused, SourceUnavailable
from drtool.sources.postgres.connection import Identity, PostgresSettings, Replication
from drtool.sources.postgres.faults import SourceOutage
from drtool.sources.postgres.hearing import ServerState
from drtool.sources.postgres.segments import Assembler, Sink
from drtool.sources.postgres.wal import format_lsn, parse_history, segment_start
from drtool.sources.postgres.wal_stream import WalStream

LONGEST_WAIT_S = 0.05  # between two looks at `stop`


@dataclass(frozen=True, slots=True)
class Start:
    """Where to go on: a segment's first byte, on a timeline of the instance with this system identifier."""

    system_identifier: int
    timeline: int
    lsn: int


@dataclass(frozen=True, slots=True)
class Goal:
    """When to end: at lsn of the server's timeline (None: never), or once stop() is true.

    tail_every_s is how long WAL may stay without a tail; None: one tail, at the end.
    """

    lsn: int | None
    tail_every_s: float | None
    stop: Callable[[], bool]

    def is_reached(self, position: int, *, is_known: bool) -> bool:
        """Tell whether to end; at lsn only once it is known as of when all up to position is everything."""
        return self.stop() or (self.lsn is not None and position >= self.lsn and is_known)

    def is_tail_due(self, last_tail: float) -> bool:
        return self.tail_every_s is not None and time.monotonic() - last_tail >= self.tail_every_s


@dataclass(frozen=True, slots=True)
class Received:
    """How far a run came: everything before lsn on timeline is durable, and all that was committed by server.time."""

    timeline: int
    lsn: int
    server: ServerState


def _never() -> bool:
    return False


class _Covered:
    """The newest word of the server that what was received covers; on a busy server its last word is always ahead."""

    def __init__(self) -> None:
        self.state: ServerState | None = None
        self._next: ServerState | None = None

    def choose(self, said: ServerState, position: int) -> ServerState:
        """Return the newest of all that was said that position covers; where none is, what was said last."""
        if said.flush_lsn <= position:
            self.state, self._next = said, None
        elif self._next is None:
            self._next = said
        elif self._next.flush_lsn <= position:
            self.state, self._next = self._next, said
        return self.state or said


class Receiver:
    """One run: WAL from start on, into sink. Without a slot nothing is acknowledged."""

    def __init__(self, settings: PostgresSettings, slot: str | None, start: Start, sink: Sink) -> None:
        self._settings = settings
        self._slot = slot
        self._start = start
        self._sink = sink

    def catch_up(self, until: int | None = None, stop: Callable[[], bool] = _never) -> Received:
        """Fetch WAL up to until, or to what the server has flushed by now, and end with a tail.

        An idle server ends it at once. Raises Refused for another instance or an old primary, WalGone if the
        server has dropped what is next, SlotInUse while another receiver is at work.
        """
        with Replication(self._settings) as replication:
            identity = replication.identify()
            lsn = identity.flush_lsn if until is None else until
            return self._run(replication, identity, Goal(lsn, None, stop))

    def follow(self, tail_every_s: float, stop: Callable[[], bool]) -> Received:
        """Fetch WAL as it comes, with a tail or a mark at least every tail_every_s, until stop() is true."""
        with Replication(self._settings) as replication:
            return self._run(replication, replication.identify(), Goal(None, tail_every_s, stop))

    def _run(self, replication: Replication, identity: Identity, goal: Goal) -> Received:
        self._check(identity)
        self._fetch_histories(replication, identity.timeline)
        assembler = Assembler(identity, self._sink)
        assembler.begin(self._start.timeline, self._start.lsn)
        while True:
            timeline, lsn = assembler.timeline, assembler.position
            with WalStream(replication, slot=self._slot, lsn=lsn, timeline=timeline) as stream:
                # A server that is behind its own promotion knows no end for an older timeline.
                is_newest = timeline >= identity.timeline
                here = goal if is_newest else Goal(None, goal.tail_every_s, goal.stop)
                received = _drain(stream, assembler, here, is_newest=is_newest)
                if received is not None:
                    return received
                next_timeline = stream.next_timeline
            if next_timeline is None:
                raise SourceOutage(
                    f"PostgreSQL at {self._settings.who} ended the WAL stream",
                    hint="It is stopping; what was received is kept. Try again when it is back.",
                )
            timeline, switch_lsn = next_timeline
            self._sink.history(timeline, replication.timeline_history(timeline))
            identity = replication.identify()
            assembler.begin(timeline, segment_start(switch_lsn, identity.wal_segment_size))

    def _check(self, identity: Identity) -> None:
        """Refuse before anything is received what would mix lineages."""
        start, who = self._start, self._settings.who
        if identity.system_identifier != start.system_identifier:
            raise Refused(
                f"{who} is another PostgreSQL: system identifier {identity.system_identifier}, "
                f"expected {start.system_identifier}",
                hint="Its WAL belongs to a lineage of its own: take a new base backup of it.",
            )
        if start.lsn % identity.wal_segment_size:
            raise Refused(
                f"WAL cannot be received from {format_lsn(start.lsn)}: no segment begins there",
                hint="Begin at the first byte of a segment.",
            )
        if start.timeline > identity.timeline:
            raise Refused(
                f"{who} is on timeline {identity.timeline}, and timeline {start.timeline} was received before",
                hint="An old primary may have come back: name the one that the application uses.",
            )

    def _fetch_histories(self, replication: Replication, timeline: int) -> None:
        """Store the history file of timeline, and those of its ancestors that the server still has."""
        if timeline == 1:
            return
        content = replication.timeline_history(timeline)
        for ancestor in parse_history(timeline, content):
            if ancestor.timeline > 1:
                try:
                    older = replication.timeline_history(ancestor.timeline)
                except SourceUnavailable:  # the server dropped it; what it said stands in the newest one, too
                    continue
                self._sink.history(ancestor.timeline, older)
        self._sink.history(timeline, content)


def _drain(stream: WalStream, assembler: Assembler, goal: Goal, *, is_newest: bool) -> Received | None:
    """Move what stream brings into assembler until goal, and end the stream; None if the server ended it.

    is_newest says that no timeline of the server is newer: what was committed on a newer one is not in this stream,
    so that what the server says here promises nothing about time.
    """
    last_tail = time.monotonic()
    covered = _Covered()
    while True:
        piece = stream.take(LONGEST_WAIT_S)
        if piece is not None and (durable := assembler.add(piece.data)) is not None:
            stream.acknowledge(durable)
        ended = stream.ended
        is_left = not is_newest or (ended and stream.next_timeline is not None)
        said = ServerState.untimed(assembler.position) if is_left else stream.state
        if said is not None:
            state = said if is_left else covered.choose(said, assembler.position)
            done = goal.is_reached(assembler.position, is_known=covered.state is not None)
            asked = piece is None and stream.answer_wanted
            if done or asked or ended or goal.is_tail_due(last_tail):
                last_tail = time.monotonic()
                stream.acknowledge(assembler.tail(state))
            if done:
                stream.finish()
                return Received(assembler.timeline, assembler.position, state)
        if ended:
            return None
