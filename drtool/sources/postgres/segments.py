"""WAL pieces into segments and tails, each handed to a sink that keeps it."""

from typing import Protocol

from drtool.sources.postgres.connection import Identity
from drtool.sources.postgres.hearing import ServerState
from drtool.sources.postgres.wal import LONG_HEADER, check_segment_header, segment_start


class Sink(Protocol):
    """Where WAL goes. Each call returns only when what it was given is durable; only then is it acknowledged.

    Called from one thread, in the order of the WAL. May be given the same again.
    """

    def history(self, timeline: int, content: bytes) -> None:
        """Keep the history file of timeline. Comes before the first segment of that timeline."""
        ...

    def segment(self, timeline: int, start_lsn: int, data: bytes) -> None:
        """Keep one complete segment, whose header was checked."""
        ...

    def tail_begin(self, timeline: int, start_lsn: int) -> int:
        """Return where the next tail of the segment at start_lsn begins.

        That is where its durable tails end, or start_lsn to have all of it in one.
        """
        ...

    def tail(self, timeline: int, span: tuple[int, int], data: bytes, state: ServerState) -> None:
        """Keep the bytes of span (from, to) in the segment under way, and what the server said of itself.

        Where from is to there are no bytes: a mark, that all before it is kept, and the server was there.
        The state of a timeline that the server has left is untimed.
        """
        ...


class Assembler:
    """Collects the segment under way, on one timeline at a time. Holds at most one segment."""

    def __init__(self, identity: Identity, sink: Sink) -> None:
        self._identity = identity
        self._size = identity.wal_segment_size
        self._sink = sink
        self._pieces: list[memoryview] = []
        self.timeline = 0
        self.position = 0

    def begin(self, timeline: int, lsn: int) -> None:
        """Begin anew at the first byte of a segment."""
        self._pieces.clear()
        self.timeline, self.position = timeline, lsn

    def add(self, data: memoryview) -> int | None:
        """Take WAL that begins at position; return the LSN up to which it is durable, if a segment was filled."""
        durable = None
        while data:
            piece = data[: self._size - self.position % self._size]
            data = data[len(piece) :]
            self._pieces.append(piece)
            self.position += len(piece)
            if self.position % self._size == 0:
                start = self.position - self._size
                self._sink.segment(self.timeline, start, self._checked(start))
                self._pieces.clear()
                durable = self.position
        return durable

    def tail(self, state: ServerState) -> int:
        """Hand over what came since the last tail, or a mark if nothing did; return the LSN that is durable now."""
        start = segment_start(self.position, self._size)
        begin = min(max(start, self._sink.tail_begin(self.timeline, start)), self.position)
        data = self._checked(start)[begin - start :] if self._pieces else b""
        self._sink.tail(self.timeline, (begin, self.position), data, state)
        return self.position

    def _checked(self, start: int) -> bytes:
        """Return the segment under way. Raises Corrupt unless it begins as the segment at start must."""
        data = b"".join(self._pieces)
        if len(data) >= LONG_HEADER.size:
            check_segment_header(
                data,
                major=self._identity.major,
                system_identifier=self._identity.system_identifier,
                timeline=self.timeline,
                start=start,
                segment_size=self._size,
            )
        return data
