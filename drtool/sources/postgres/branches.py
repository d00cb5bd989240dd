"""Where a server went on from the timeline of a base backup, and since when that is known. Pure: no I/O, no clock.

A standby that is promoted begins a timeline. A base backup that the old primary ended behind that point has its WAL on
the old branch alone: whatever came later is not to be had from it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from drtool.sources.postgres.coverage import Base, StoredWal, leave_of, path_of
from drtool.sources.postgres.hearing import EPOCH
from drtool.sources.postgres.wal import format_lsn


@dataclass(frozen=True, slots=True)
class Branch:
    """The timeline that a server had gone to by a moment."""

    timeline: int
    since: datetime


def left_behind(base: Base, wal: StoredWal) -> str | None:
    """Return that the server left the timeline of base before its end; None where the newest timeline holds all of it.

    From then on WAL of that timeline is an old primary's, and refused.
    """
    newest = max(wal.histories, default=0)
    if newest <= base.timeline or _holds(newest, base, wal):
        return None
    leave = leave_of(base.timeline, newest, wal)
    where = "was left before" if leave is None else f"was left at {format_lsn(leave)}"
    return f"timeline {base.timeline} {where} for timeline {newest}, and this ended at {format_lsn(base.end_lsn)}"


def left_for(base: Base, wal: StoredWal, bases: Sequence[Base]) -> Branch | None:
    """Return the first timeline known to have begun since that does not hold all of base; None where none is.

    bases are all there are: one of a newer timeline, too, tells that it had begun. Where nothing tells when a timeline
    began, no moment is known to be behind that.
    """
    later = [timeline for timeline in wal.histories if timeline > base.timeline]
    ours = max((each for each in later if _holds(each, base, wal)), default=base.timeline)
    found = [
        Branch(timeline, min(seen))
        for timeline in later
        if timeline > ours and (seen := [*_seen(timeline, base, wal, bases)])
    ]
    return min(found, key=lambda branch: (branch.since, branch.timeline), default=None)


def known_by(target: datetime, base: Base, wal: StoredWal, bases: Sequence[Base]) -> StoredWal:
    """Return wal without the timelines above base's of which all that tells when they began is later than target."""
    later = {
        timeline
        for timeline in wal.histories
        if timeline > base.timeline and (seen := [*_seen(timeline, base, wal, bases)]) and min(seen) > target
    }
    if not later:
        return wal
    histories = {timeline: found for timeline, found in wal.histories.items() if timeline not in later}
    complete = frozenset(each for each in wal.complete if each[0] not in later)
    tails = [tail for tail in wal.tails if tail.timeline not in later]
    return replace(wal, histories=histories, complete=complete, tails=tails)


def _holds(timeline: int, base: Base, wal: StoredWal) -> bool:
    leave = leave_of(base.timeline, timeline, wal)
    return leave is not None and base.end_lsn <= leave


def _seen(timeline: int, base: Base, wal: StoredWal, bases: Sequence[Base]) -> Iterator[datetime]:
    """Yield moments at which timeline is known to have been written."""
    begin = path_of(timeline, wal)[-1].begin
    for mark in wal.marks:
        if mark.timeline != timeline:
            continue
        if mark.time > EPOCH:  # else it promises nothing about time
            yield mark.time
        if mark.heartbeat_time is not None and (mark.heartbeat_lsn or 0) >= begin:
            yield mark.heartbeat_time
    yield from (each.begin for each in bases if (each.lineage, each.timeline) == (base.lineage, timeline))
