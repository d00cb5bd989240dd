"""Which base, which timelines, which WAL bring a PostgreSQL volume back to a moment. Pure: no I/O, no clock.

choose_recovery decides from what is stored. Where only the records themselves can say how to stop, its stop is
"survey": walk the last segments, and ask decide_stop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from drtool.errors import NoRecoveryPoint, UsageError
from drtool.sources.postgres.coverage import (
    Base,
    Lineage,
    Mark,
    Reach,
    SegmentPlan,
    StoredWal,
    Stretch,
    find_reach,
)
from drtool.sources.postgres.reaches import Reaches, held_marks, newest_moment

Stop = Literal["time", "end", "survey", "earlier"]


@dataclass(frozen=True, slots=True)
class Interval:
    """All moments from begin to end can be had from base. end is the newest that is known to be covered."""

    base: Base
    begin: datetime
    end: datetime
    end_lsn: int
    timeline: int
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecoveryChoice:
    """What one recovery replays, and what it is to be held against.

    target None means: to the end. timeline is the number for recovery_target_timeline; path leads to it, and
    segments are contiguous up to end_lsn, in order. histories are all that must be served. newest is the newest
    moment known to be covered. mark is the highest that the recovery must reach, heartbeat_lsn the last heartbeat
    that it must hold. faults say what else ought to be stored and is not: with a target of None they are a loss.
    """

    base: Base
    target: datetime | None
    timeline: int
    path: tuple[Stretch, ...]
    segments: tuple[SegmentPlan, ...]
    histories: tuple[int, ...]
    end_lsn: int
    newest: datetime
    stop: Stop
    heartbeat_lsn: int | None
    mark: Mark | None
    faults: tuple[str, ...]


def restorable_intervals(bases: Sequence[Base], wal: Mapping[Lineage, StoredWal]) -> list[Interval]:
    """Return the interval of each base whose WAL is stored up to its end, in the order of bases."""
    return [_interval(reach, wal[reach.base.lineage]) for reach in Reaches(bases, wal).all]


def choose_recovery(
    bases: Sequence[Base], wal: Mapping[Lineage, StoredWal], *, target: datetime | None = None
) -> RecoveryChoice:
    """Return how to recover to target, or to the newest point there is.

    target is an aware datetime in UTC: everything that was committed up to then, and nothing later. Raises
    NoRecoveryPoint, naming the nearest point there is, where the store cannot prove it; UsageError for a naive one.
    """
    if target is not None and target.utcoffset() != timedelta(0):
        raise UsageError(
            f"the moment {target.isoformat()} is not in UTC", hint="Write it as 2026-01-31T12:00:00Z."
        )
    reaches = Reaches(bases, wal)
    if not reaches.all:
        raise NoRecoveryPoint(_why_none(bases, wal), hint="Take a base backup and let the WAL catch up.")
    if target is None:
        last = reaches.last()
        return _to_end(last, wal[last.base.lineage])
    best = reaches.nearest_before(target)
    if isinstance(best, str):
        raise NoRecoveryPoint(best, hint=reaches.hint(target))
    return _to_time(best, wal[best.base.lineage], target)


def decide_stop(choice: RecoveryChoice, *, newest_end: datetime | None, later_end: datetime | None) -> Stop:
    """Return how a recovery to a moment stops, from a walk over its last segments.

    newest_end is the newest transaction end found, later_end the first one after the target. "time": PostgreSQL
    stops there by itself. "end": all there is, is not later than the target. "earlier": no transaction ended in
    what was walked; walk the segments before it, back to the base's, and ask again; if there is none, it is "end".
    """
    if choice.stop != "survey":
        return choice.stop
    if later_end is not None:
        return "time"
    return "earlier" if newest_end is None else "end"


def _interval(reach: Reach, wal: StoredWal) -> Interval:
    base = reach.base
    return Interval(base, base.end, newest_moment(reach, wal), reach.end, reach.timeline, reach.faults())


def _to_end(reach: Reach, wal: StoredWal) -> RecoveryChoice:
    return _choice(reach, wal, target=None, stop="end", held=held_marks(reach, wal))


def _to_time(reach: Reach, wal: StoredWal, target: datetime) -> RecoveryChoice:
    held = held_marks(reach, wal)
    until = [mark for mark in held if mark.time <= target]
    behind = [
        mark.flush_lsn for mark in held if mark.heartbeat_time is not None and mark.heartbeat_time > target
    ]
    if behind:
        return _choice(_cut(reach, min(behind)), wal, target=target, stop="time", held=until)
    return _choice(reach, wal, target=target, stop="survey", held=until)


def _cut(reach: Reach, end: int) -> Reach:
    """Return reach without the segments that begin at end or later: what is behind the target is not replayed."""
    segments = tuple(plan for plan in reach.segments if plan.start < max(end, reach.base.end_lsn))
    return Reach(reach.base, reach.path, segments, segments[-1].until, None, reach.unnamed)


def _choice(
    reach: Reach, wal: StoredWal, *, target: datetime | None, stop: Stop, held: Sequence[Mark]
) -> RecoveryChoice:
    """Return the choice for reach. held are the marks up to the target."""
    heartbeats = [
        mark.heartbeat_lsn
        for mark in held
        if mark.heartbeat_lsn is not None
        and (target is None or mark.heartbeat_time is None or mark.heartbeat_time <= mark.time)
    ]
    return RecoveryChoice(
        base=reach.base,
        target=target,
        timeline=reach.timeline,
        path=reach.path,
        segments=reach.segments,
        histories=tuple(sorted(wal.histories)),
        end_lsn=reach.end,
        newest=newest_moment(reach, wal),
        stop=stop,
        heartbeat_lsn=max(heartbeats, default=None),
        mark=max(held, key=lambda mark: mark.flush_lsn, default=None),
        faults=reach.faults(),
    )


def _why_none(bases: Sequence[Base], wal: Mapping[Lineage, StoredWal]) -> str:
    if not bases:
        return "there is no base backup"
    newest = max(bases, key=lambda base: base.end)
    if newest.lineage not in wal:
        return f"base backup {newest.id} has no WAL in the store"
    faults = "; ".join(find_reach(newest, wal[newest.lineage]).faults())
    return f"the WAL of base backup {newest.id} does not reach its end: {faults}"
