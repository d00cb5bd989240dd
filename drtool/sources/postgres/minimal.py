"""WAL of wal_level = minimal, found in what a server still has before that is received.

Such WAL lacks what was loaded meanwhile, and PostgreSQL replays nothing behind the record that says so. A server
does not start with that level while it has a slot: so it can only lie before the place from which a slot keeps WAL.
"""

from collections.abc import Iterator

from drtool.sources.postgres.connection import Identity, PostgresSettings
from drtool.sources.postgres.hearing import ServerState
from drtool.sources.postgres.receiver import Receiver, Start
from drtool.sources.postgres.records import Record, RecordWalk
from drtool.sources.postgres.wal import format_lsn


class _Found(Exception):
    """Says what is there."""


class SegmentWalk:
    """The records of segments that come one after another; at most two of them are held."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._before: tuple[int, bytes, int] | None = None  # a segment, and where its last whole record ended

    def records(self, start: int, data: bytes) -> Iterator[Record]:
        """Yield the records that end in the segment at start, with the one that goes on into it.

        One that is longer than a segment is left out. Raises ValueError where the WAL is broken.
        """
        size = self._identity.wal_segment_size
        goes_on = self._before is not None and self._before[0] + size == start and self._before[2] < start
        segments, begin, first = [data], start, None
        if self._before is not None and goes_on:
            segments, begin, first = [self._before[1], data], self._before[0], self._before[2]
        walk = RecordWalk(
            segments,
            start=begin,
            segment_size=size,
            major=self._identity.major,
            system_identifier=self._identity.system_identifier,
            first=first,
        )
        yield from walk
        if not walk.is_whole:
            raise ValueError(f"it is broken behind {format_lsn(walk.end_lsn or start)}: {walk.stopped}")
        if len(data) == size:
            self._before = None if walk.end_lsn is None else (start, data, walk.end_lsn)


class _Search:
    """A sink that keeps nothing, and raises at a record of that level."""

    def __init__(self, identity: Identity) -> None:
        self._walk = SegmentWalk(identity)

    def history(self, timeline: int, content: bytes) -> None:
        """Where a timeline was left changes nothing in what its records say."""

    def segment(self, timeline: int, start_lsn: int, data: bytes) -> None:  # noqa: ARG002 -- as a sink is called
        try:
            found = next(
                (each.lsn for each in self._walk.records(start_lsn, data) if each.is_minimal()), None
            )
        except ValueError as fault:
            raise _Found(f"WAL that no slot kept for us cannot be read: {fault}") from fault
        if found is not None:
            raise _Found(f"the server wrote WAL with wal_level = minimal, from {format_lsn(found)} on")

    def tail_begin(self, timeline: int, start_lsn: int) -> int:  # noqa: ARG002 -- as a sink is called
        return start_lsn

    def tail(self, timeline: int, span: tuple[int, int], data: bytes, state: ServerState) -> None:  # noqa: ARG002
        if data:
            self.segment(timeline, span[0], data)


def find_minimal(settings: PostgresSettings, identity: Identity, start: Start, until: int) -> str | None:
    """Return why WAL from start to until cannot be replayed; None where it can. It is read, and nothing moves a slot.

    Raises WalGone where the server has it no longer, and whatever a receiver raises.
    """
    try:
        Receiver(settings, None, start, _Search(identity)).catch_up(until)
    except _Found as found:
        return str(found)
    return None
