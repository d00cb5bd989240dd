"""The receiver's sink: WAL into the repository, each call back only when it is durable."""

from dataclasses import dataclass

from drtool.operations.coverage import Held
from drtool.repository.format.names import json_time
from drtool.repository.format.record import Json
from drtool.repository.wal import FOLD_AFTER, WalStore
from drtool.sources.postgres.slot import Beat
from drtool.sources.postgres.wal import (
    format_lsn,
    history_name,
    parse_history,
    segment_name,
    segment_start,
)
from drtool.sources.postgres.wal_stream import ServerState


@dataclass(slots=True)
class Kept:
    """What a sink has stored so far."""

    segments: int = 0
    tails: int = 0
    bytes: int = 0


class StoreSink:
    """Keeps segments, tails and history files of one lineage. heartbeat is the newest that was committed."""

    def __init__(self, store: WalStore, segment_size: int, heartbeat: Beat | None) -> None:
        self._store = store
        self._size = segment_size
        self._heartbeat = heartbeat
        self._tails: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.kept = Kept()
        for tail in read_tails(store):
            self._note(*tail)

    def _note(self, timeline: int, start: int, end: int) -> None:
        self._tails.setdefault((timeline, segment_start(start, self._size)), []).append((start, end))

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
        self.kept.bytes += len(data)

    def tail_begin(self, timeline: int, start_lsn: int) -> int:
        """Return where the durable tails of a segment end; its first byte once there are too many of them."""
        tails = self._tails.get((timeline, start_lsn), [])
        if len(tails) >= FOLD_AFTER:
            return start_lsn
        reached = start_lsn
        for start, end in sorted(tails):
            if start <= reached < end:
                reached = end
        return reached

    def tail(self, timeline: int, span: tuple[int, int], data: bytes, state: ServerState) -> None:
        """Keep a tail or a mark, with what the server said of itself."""
        start, end = span
        name = segment_name(timeline, start, self._size)
        self._store.put_tail(timeline, name, span, data, self._state(state))
        if start == segment_start(start, self._size) and end > start:
            self._tails.pop((timeline, start), None)
        self._note(timeline, start, end)
        self.kept.tails += 1
        self.kept.bytes += len(data)

    def _state(self, state: ServerState) -> Json:
        heartbeat = self._heartbeat
        return {
            "flush": format_lsn(state.flush_lsn),
            "time": json_time(state.time),
            "heartbeat": {"lsn": format_lsn(heartbeat.lsn), "time": json_time(heartbeat.time)}
            if heartbeat
            else None,
        }


def read_tails(store: WalStore) -> list[tuple[int, int, int]]:
    """Return the stored tails as timeline, from, to."""
    return [
        (entry.timeline, entry.start, entry.end)
        for entry in store.tails()
        if entry.start is not None and entry.end is not None and entry.end > entry.start
    ]


def next_start(held: Held, timeline: int, oldest: int) -> tuple[int, int]:
    """Return timeline and LSN where receiving goes on: at the first hole that the server can still fill.

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
    return newest, min(reachable, default=max(holes))
