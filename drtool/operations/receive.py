"""The receiver's sink: WAL into the repository, each call back only when it is durable."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from drtool.errors import Corrupt, ObjectMissing
from drtool.operations.coverage import Held, list_tails
from drtool.repository.format.names import json_time
from drtool.repository.format.record import Json
from drtool.repository.wal import FOLD_AFTER, StoredWal, WalStore
from drtool.sources.postgres.slot import Beat
from drtool.sources.postgres.wal import (
    format_lsn,
    history_name,
    parse_history,
    segment_name,
    segment_start,
)
from drtool.sources.postgres.wal_stream import ServerState

_WRAPPING = 512  # bytes that an object takes at least beside its WAL: head, wrapped keys, signed facts


@dataclass(frozen=True, slots=True)
class _Part:
    """A stored tail: its span of LSNs, its size in the store, and its object while nobody has authenticated it."""

    start: int
    end: int
    size: int
    unproven: StoredWal | None = None


@dataclass(slots=True)
class Kept:
    """What a sink has kept so far. In bytes: received is of WAL, stored of the objects that keep it."""

    segments: int = 0
    tails: int = 0
    received: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a sink calls: durable each time that WAL was stored, beat behind each tail for a newer heartbeat.

    kept is what it counts in.
    """

    durable: Callable[[], None] = lambda: None
    beat: Callable[[], Beat | None] = lambda: None
    kept: Kept = field(default_factory=Kept)


class StoreSink:
    """Keeps segments, tails and history files of one lineage. heartbeat is the newest that was committed."""

    def __init__(
        self, store: WalStore, segment_size: int, heartbeat: Beat | None, hooks: Hooks | None = None
    ) -> None:
        self._store = store
        self._size = segment_size
        self._heartbeats = [heartbeat] if heartbeat else []
        self._hooks = hooks or Hooks()
        self._sent = store.sent
        self._tails: dict[tuple[int, int], list[_Part]] = {}
        self.kept = self._hooks.kept
        for entry in list_tails(store, segment_size):
            self._note(entry.timeline, _Part(entry.start or 0, entry.end or 0, entry.size, entry))

    def _note(self, timeline: int, part: _Part) -> None:
        """Remember a tail; a mark holds no bytes and is none."""
        if part.end > part.start:
            self._tails.setdefault((timeline, segment_start(part.start, self._size)), []).append(part)

    def history(self, timeline: int, content: bytes) -> None:
        """Keep a timeline's history file; its ancestors stand in the facts, for who holds only the list key."""
        ancestors = [
            [ancestor.timeline, format_lsn(ancestor.switch_lsn)]
            for ancestor in parse_history(timeline, content)
        ]
        self._store.put(timeline, history_name(timeline), content, {"ancestors": ancestors})

    def segment(self, timeline: int, start_lsn: int, data: bytes) -> None:
        """Keep one complete segment."""
        self._store.put(timeline, segment_name(timeline, start_lsn, self._size), data, {})
        self._tails.pop((timeline, start_lsn), None)
        self.kept.segments += 1
        self._count(data)
        self._hooks.durable()

    def tail_begin(self, timeline: int, start_lsn: int) -> int:
        """Return where the durable tails of a segment end; its first byte once one tail would serve better.

        That is where there are FOLD_AFTER of them, or they take more than twice the bytes that one would.
        """
        chain = self._chain(timeline, start_lsn)
        stored = sum(part.size for part in chain)
        if len(chain) >= FOLD_AFTER or 2 * _WRAPPING * (len(chain) - 1) > stored:
            return start_lsn
        return chain[-1].end if chain else start_lsn

    def _chain(self, timeline: int, start_lsn: int) -> list[_Part]:
        """Return the fewest stored tails that reach furthest from a segment's first byte without a hole.

        The server forgets what is in them, so each is authenticated first, once, if another process stored it.
        """
        parts = self._tails.get((timeline, start_lsn), [])
        chain: list[_Part] = []
        reached = start_lsn
        while True:
            fitting = [place for place, part in enumerate(parts) if part.start <= reached < part.end]
            if not fitting:
                return chain
            place = max(fitting, key=lambda each: (parts[each].end, parts[each].start))
            if self._is_signed(parts[place]):
                parts[place] = replace(parts[place], unproven=None)
                chain.append(parts[place])
                reached = parts[place].end
            else:
                del parts[place]

    def _is_signed(self, part: _Part) -> bool:
        try:
            return part.unproven is None or bool(self._store.facts(part.unproven.stored))
        except (Corrupt, ObjectMissing):
            return False

    def tail(self, timeline: int, span: tuple[int, int], data: bytes, state: ServerState) -> None:
        """Keep a tail or a mark, with what the server said of itself."""
        start, end = span
        name = segment_name(timeline, start, self._size)
        size = self._store.put_tail(timeline, name, span, data, self._state(state, end))
        self._note(timeline, _Part(start, end, size))
        self.kept.tails += 1
        self._count(data)
        self._hooks.durable()
        if (beat := self._hooks.beat()) is not None:
            self._heartbeats.append(beat)

    def _count(self, data: bytes) -> None:
        self.kept.received += len(data)
        self.kept.stored += self._store.sent - self._sent
        self._sent = self._store.sent

    def _state(self, state: ServerState, end: int) -> Json:
        """Return what a tail up to end says of the server, with the newest heartbeat that lies before it."""
        covered = [beat for beat in self._heartbeats if beat.lsn < min(end, state.flush_lsn)]
        self._heartbeats = [*covered[-1:], *(beat for beat in self._heartbeats if beat not in covered)]
        beat = covered[-1] if covered else None
        return {
            "flush": format_lsn(state.flush_lsn),
            "time": json_time(state.time),
            "heartbeat": {"lsn": format_lsn(beat.lsn), "time": json_time(beat.time)} if beat else None,
        }


def next_start(held: Held, timeline: int, oldest: int) -> tuple[int, int]:
    """Return timeline and LSN where receiving goes on: at the first hole that the server can still fill.

    The server drops what lies before it, so each segment from oldest up to there must be signed.
    oldest is the slot's restart LSN; timeline the server's, for a lineage of which nothing is stored.
    """
    size = held.wal.segment_size
    first = segment_start(oldest, size)
    timelines = {each for each, _ in held.wal.complete} | {tail.timeline for tail in held.wal.tails}
    if not timelines:
        return timeline, first
    newest = max(timelines)
    complete = {start for each, start in held.wal.complete if each == newest}
    open_segments = {segment_start(tail.start, size) for tail in held.wal.tails if tail.timeline == newest}
    holes = {start + size for start in complete} | open_segments
    reachable = [start for start in holes - complete if start >= first]
    hole = min(reachable, default=max(holes))
    passed = sorted(start for start in complete if first <= start < hole)
    return newest, next((start for start in passed if not held.is_signed(newest, start)), hole)
