"""What the base backups of a volume reach with the WAL that is stored, and which moments that covers. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from drtool.policy.moments import exact
from drtool.sources.postgres.branches import Branch, known_by, left_for
from drtool.sources.postgres.coverage import Base, Lineage, Mark, Reach, StoredWal, find_reach
from drtool.sources.postgres.wal import format_lsn


def held_marks(reach: Reach, wal: StoredWal) -> list[Mark]:
    """Return what was seen durable of what is in reach."""
    return [mark for mark in wal.marks if reach.holds(mark.timeline, mark.flush_lsn)]


def newest_moment(reach: Reach, wal: StoredWal) -> datetime:
    """Return the newest moment of which it is known that all that was committed until then is in reach.

    Of a base backup that is when it began: its end is told once it has ended, and what was committed in between lies
    behind its end LSN.
    """
    return max([reach.base.begin, *(mark.time for mark in held_marks(reach, wal))])


class Reaches:
    """The reaches of all bases that can be made consistent, each with its lineage's WAL."""

    def __init__(self, bases: Sequence[Base], wal: Mapping[Lineage, StoredWal]) -> None:
        found = (find_reach(base, wal[base.lineage]) for base in bases if base.lineage in wal)
        self.all = [reach for reach in found if reach.is_restorable]
        self._bases = bases
        self._wal = wal
        self._branches: dict[str, Branch | None] = {}
        self._newest: dict[Lineage, datetime] = {}
        for base in (reach.base for reach in self.all):
            self._newest[base.lineage] = max(base.end, self._newest.get(base.lineage, base.end))

    def last(self) -> Reach:
        """Return the reach that goes on furthest along the newest timeline. There is one at least."""
        return max(
            self.all,
            key=lambda one: (self._order(one), one.timeline, one.end, not one.base.degraded, one.base.end),
        )

    def nearest_before(self, target: datetime) -> Reach | str:
        """Return the reach that leads to target from nearest before it, or why there is none.

        A moment at which the server had gone to a newer timeline is of that one alone, though a base backup that was
        left behind is nearer; one before that may be of the old branch, which the server was writing then. So is what
        was stored of that branch behind the point where it was left: a promoted standby lagged, or somebody served a
        restore of an earlier moment.
        """
        before = [reach for reach in self.all if reach.base.end < target]
        if not before:
            first = min(self.all, key=lambda one: one.base.end).base
            return (
                f"no base backup ended before {exact(target)}: "
                f"the first one, {first.id}, ended {exact(first.end)}"
            )
        along = [reach for reach in before if not self._is_left(reach, target)]
        if not along:
            return f"no base backup that ended before {exact(target)} is of the timeline that the server was on then"
        along += [then for reach in along if (then := self._then(reach, target)) is not None]
        best = max(
            along,
            key=lambda one: (self._order(one), self._covers(one, target), *_nearest(one), -one.timeline),
        )
        if self._covers(best, target):
            return best
        newest = newest_moment(best, self._wal[best.base.lineage])
        missing = "".join(f"; {each}" for each in best.faults())
        return (
            f"the store proves what was committed until {exact(newest)}, not until {exact(target)}{missing}"
        )

    def hint(self, target: datetime) -> str:
        """Return what can be restored instead of target: what is nearest to it on either side, or what is newest.

        And which base backup would have led there, had its timeline not been left.
        """
        spans = self._spans()
        around = [
            *[span for span in spans if span[1] < target][-1:],
            *[span for span in spans if span[0] >= target][:1],
        ]
        told = ", or ".join(f"after {exact(begin)} and not after {exact(end)}" for begin, end in around)
        newest = f"to get all up to {format_lsn(self.last().end)}."
        moment = f"Give a moment {told}; or leave the moment out" if told else "Leave the moment out"
        return " ".join([f"{moment} {newest}", *self._left(target)])

    def _spans(self) -> list[tuple[datetime, datetime]]:
        """Return what can be restored as spans of moments, oldest first: all that is after the one, up to the other.

        Where a newer lineage has a base, no moment behind that is of an older one, and none of a timeline behind the
        moment at which it was left, as nearest_before has it.
        """
        spans: list[tuple[datetime, datetime]] = []
        for reach in sorted(self.all, key=lambda one: one.base.end):
            ends = [newest_moment(reach, self._wal[reach.base.lineage])]
            ends += [one.base.end for one in self.all if self._order(one) > self._order(reach)]
            if (branch := self._branch(reach)) is not None:
                ends.append(branch.since)
            begin, end = reach.base.end, min(ends)
            if spans and begin <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], end))
            elif begin < end:
                spans.append((begin, end))
        return spans

    def _left(self, target: datetime) -> Iterator[str]:
        """Say which base backup leads to target along a timeline that the server had left by then, if one does."""
        for reach in sorted(self.all, key=_nearest, reverse=True):
            branch = self._branch(reach)
            if branch is None or not self._is_left(reach, target) or reach.base.end >= target:
                continue
            if self._covers(reach, target):
                yield (
                    f"Base backup {reach.base.id} leads there along timeline {reach.timeline} alone, and by "
                    f"{exact(branch.since)} the server had gone to timeline {branch.timeline}."
                )
                return

    def _then(self, reach: Reach, target: datetime) -> Reach | None:
        """Return what its base reaches along the timelines that had begun by target, where that is needed.

        None where what reach shares with them holds target: nothing of it lies behind the point where they were left.
        """
        wal = self._wal[reach.base.lineage]
        known = known_by(target, reach.base, wal, self._bases)
        then = reach if known is wal else find_reach(reach.base, known)
        leave = next((each.leave for each in reach.path if each.timeline == then.timeline), None)
        if then.timeline == reach.timeline or leave is None:
            return None
        is_shared = any(mark.time >= target for mark in held_marks(then, wal) if mark.flush_lsn <= leave)
        return None if is_shared else then

    def _order(self, reach: Reach) -> tuple[int, datetime]:
        """Return what orders reaches by their lineage: by its epoch, then by its newest base."""
        return reach.base.lineage.epoch, self._newest[reach.base.lineage]

    def _covers(self, reach: Reach, target: datetime) -> bool:
        return target <= newest_moment(reach, self._wal[reach.base.lineage])

    def _is_left(self, reach: Reach, target: datetime) -> bool:
        branch = self._branch(reach)
        return branch is not None and branch.since < target

    def _branch(self, reach: Reach) -> Branch | None:
        base = reach.base
        if base.id not in self._branches:
            self._branches[base.id] = left_for(base, self._wal[base.lineage], self._bases)
        return self._branches[base.id]


def _nearest(reach: Reach) -> tuple[bool, datetime]:
    return not reach.base.degraded, reach.base.end
