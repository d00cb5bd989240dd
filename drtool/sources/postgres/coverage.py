"""Which WAL of a lineage is stored, and how far it reaches from a base backup without a hole. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from drtool.sources.postgres.wal import Ancestor, format_lsn, history_name, segment_name, segment_start


@dataclass(frozen=True, slots=True)
class Lineage:
    """One line of WAL that may be replayed: epoch is raised by every restore into production."""

    system_identifier: int
    major: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Base:
    """One stored base backup. WAL from start_lsn to end_lsn makes it consistent; end is that moment, in UTC."""

    id: str
    lineage: Lineage
    timeline: int
    start_lsn: int
    end_lsn: int
    begin: datetime
    end: datetime
    wal_segment_size: int
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Tail:
    """The bytes [start, end) of one segment of a timeline, stored before the segment was complete."""

    timeline: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody saw: at time, by the server's clock, all before flush_lsn of timeline was durable there.

    heartbeat_lsn and heartbeat_time are of the newest heartbeat, which was committed before flush_lsn.
    """

    time: datetime
    timeline: int
    flush_lsn: int
    heartbeat_lsn: int | None = None
    heartbeat_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredWal:
    """The WAL of one lineage in the store. complete holds (timeline, first LSN); histories are by timeline."""

    segment_size: int
    complete: frozenset[tuple[int, int]] = frozenset()
    tails: Sequence[Tail] = ()
    histories: Mapping[int, tuple[Ancestor, ...]] = field(default_factory=dict)
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """One timeline of a path: its records lie in [begin, leave); leave is None on the last one."""

    timeline: int
    begin: int
    leave: int | None


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """One segment to replay: valid up to until, which may be short of its end; the rest is to be zeros.

    tails is empty where the complete segment is stored, else the chain that begins at the segment's first byte.
    """

    timeline: int
    start: int
    until: int
    tails: tuple[Tail, ...] = ()

    def name(self, segment_size: int) -> str:
        return segment_name(self.timeline, self.start, segment_size)


@dataclass(frozen=True, slots=True)
class Gap:
    """WAL that ought to be in the store and is not; end is that of what is known to be missing."""

    timeline: int
    start: int
    end: int

    def __str__(self) -> str:
        span = f"{format_lsn(self.start)}-{format_lsn(self.end)}"
        return f"WAL {span} of timeline {self.timeline} is not in the store"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the WAL goes on from a base without a hole: up to end, by segments in order.

    gap is what is missing at end, None where nothing is known to be behind it. path ends in the timeline that
    holds end. unnamed are timelines with WAL whose history file is not stored: nobody can tell where they belong.
    """

    base: Base
    path: tuple[Stretch, ...]
    segments: tuple[SegmentPlan, ...]
    end: int
    gap: Gap | None
    unnamed: tuple[int, ...]

    @property
    def timeline(self) -> int:
        return self.path[-1].timeline

    @property
    def is_restorable(self) -> bool:
        """Whether the base can be made consistent."""
        return self.end >= self.base.end_lsn

    def holds(self, timeline: int, lsn: int) -> bool:
        """Tell whether all of timeline before lsn is on the path and reached."""
        if lsn > self.end:
            return False
        return any(
            stretch.timeline == timeline and (stretch.leave is None or lsn <= stretch.leave)
            for stretch in self.path
        )

    def faults(self) -> tuple[str, ...]:
        """Return what is missing, each as a sentence without a full stop."""
        missing = [f"history file {history_name(timeline)} is not in the store" for timeline in self.unnamed]
        return (*([] if self.gap is None else [str(self.gap)]), *missing)


def find_reach(base: Base, wal: StoredWal) -> Reach:
    """Return how far wal goes on from base, on the newest timeline that descends from it."""
    path = _newest_path(base, wal)
    segments = tuple(_contiguous(base, path, wal))
    end = segments[-1].until if segments else segment_start(base.start_lsn, wal.segment_size)
    gap = _gap(base, path, wal, end)
    known = {timeline for timeline, _ in wal.complete} | {tail.timeline for tail in wal.tails}
    unnamed = tuple(sorted(known - wal.histories.keys() - {1, base.timeline}))
    held = tuple(stretch for stretch in path if stretch.begin < end or stretch.timeline == base.timeline)
    return Reach(base, held, segments, end, gap, unnamed)


def path_of(timeline: int, wal: StoredWal) -> tuple[Stretch, ...]:
    """Return the stretches that lead to a timeline whose history is stored.

    One that was left before it began is empty, and left out.
    """
    ancestors = wal.histories[timeline]
    stretches: list[Stretch] = []
    begin = 0
    for place, ancestor in enumerate(ancestors):
        leave = min(later.switch_lsn for later in ancestors[place:])
        if leave > begin or not stretches:
            stretches.append(Stretch(ancestor.timeline, begin, leave))
        begin = leave
    return (*stretches, Stretch(timeline, begin, None))


def leave_of(timeline: int, later: int, wal: StoredWal) -> int | None:
    """Return the LSN at which the path to later, whose history is stored, leaves timeline; None if it is not on it."""
    return next((each.leave for each in path_of(later, wal) if each.timeline == timeline), None)


def _newest_path(base: Base, wal: StoredWal) -> tuple[Stretch, ...]:
    """Return the path from base to the highest timeline whose history passes base, from base's timeline on."""
    for timeline in sorted(wal.histories, reverse=True):
        path = path_of(timeline, wal)
        ours = [place for place, stretch in enumerate(path) if stretch.timeline == base.timeline]
        if ours and (path[ours[0]].leave is None or base.end_lsn <= (path[ours[0]].leave or 0)):
            return path[ours[0] :]
    return (Stretch(base.timeline, 0, None),)


def _contiguous(base: Base, path: Sequence[Stretch], wal: StoredWal) -> Iterator[SegmentPlan]:
    """Yield the segments from base's first on, up to the first that is missing or not whole."""
    by_segment: dict[tuple[int, int], list[Tail]] = {}
    for tail in wal.tails:
        key = (tail.timeline, segment_start(tail.start, wal.segment_size))
        by_segment.setdefault(key, []).append(tail)
    start = segment_start(base.start_lsn, wal.segment_size)
    while True:
        found = [
            _stored(stretch, start, wal, by_segment.get((stretch.timeline, start), []))
            for stretch in path
            if segment_start(stretch.begin, wal.segment_size) <= start < (stretch.leave or start + 1)
        ]
        best = max(found, key=lambda plan: (plan.until, plan.timeline), default=None)
        if best is None or best.until == start:
            return
        yield best
        start += wal.segment_size
        if best.until < start:
            return


def _stored(stretch: Stretch, start: int, wal: StoredWal, tails: Sequence[Tail]) -> SegmentPlan:
    """Return what is stored of one segment as stretch has it: the complete one, else the longest chain."""
    leave = start + wal.segment_size if stretch.leave is None else stretch.leave
    limit = min(start + wal.segment_size, leave)
    if (stretch.timeline, start) in wal.complete:
        return SegmentPlan(stretch.timeline, start, limit)
    parts = chain(start, tails)
    return SegmentPlan(stretch.timeline, start, min(limit, parts[-1].end) if parts else start, parts)


def chain(start: int, tails: Sequence[Tail]) -> tuple[Tail, ...]:
    """Return the fewest tails that together reach furthest from start without a hole; they may overlap."""
    found: list[Tail] = []
    reached = start
    while True:
        fitting = [tail for tail in tails if tail.start <= reached < tail.end]
        if not fitting:
            return tuple(found)
        found.append(max(fitting, key=lambda tail: (tail.end, tail.start)))
        reached = found[-1].end


def _gap(base: Base, path: Sequence[Stretch], wal: StoredWal, end: int) -> Gap | None:
    """Return what is missing at end: up to the next stored WAL, else to the highest LSN that is known of."""
    here = next(place for place in reversed(range(len(path))) if path[place].begin <= end or place == 0)
    leaves = {stretch.timeline: stretch.leave for stretch in path[here:]}
    begins = [*wal.complete, *((tail.timeline, tail.start) for tail in wal.tails)]
    stored = [
        start
        for timeline, start in begins
        if timeline in leaves and end < start < (leaves[timeline] or start + 1)
    ]
    seen = [
        min(mark.flush_lsn, leaves[mark.timeline] or mark.flush_lsn)
        for mark in wal.marks
        if mark.timeline in leaves
    ]
    highest = max([base.end_lsn, *seen])
    if not stored and highest <= end:
        return None
    return Gap(path[here].timeline, end, min(stored) if stored else highest)
