"""Whether a server goes on with the WAL that is stored, or is another one of its family: an old primary, a fork. Pure.

All copies of a database have one system identifier. What tells them apart is the timeline, how each came to it, and how
far its WAL goes. A standby that was promoted goes on; so does a primary that was rewound to follow it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drtool.errors import Refused
from drtool.sources.postgres.coverage import StoredWal
from drtool.sources.postgres.wal import Ancestor, format_lsn, segment_start

_HINT: Final = (
    "An old primary may have come back: name the one that the application uses. If that is this one, begin a new epoch "
    "for it with `drtool keys enrol`."
)


@dataclass(frozen=True, slots=True)
class Line:
    """What a server says of its WAL: its timeline, where that comes from, and how far it is flushed."""

    who: str
    timeline: int
    ancestors: Sequence[Ancestor]
    flush_lsn: int
    is_standby: bool


def refuse_other_line(line: Line, stored: StoredWal) -> None:
    """Return when the server's WAL goes on from what is stored, which was read before line was. Raises Refused."""
    newest = newest_timeline(stored)
    if line.timeline < newest:
        raise Refused(
            f"{line.who} is on timeline {line.timeline}, and timeline {newest} was received before",
            hint=_HINT,
        )
    told = _switches(line.ancestors)
    if newest not in (0, line.timeline, *(timeline for timeline, _ in told)):
        raise Refused(
            f"{line.who} is on timeline {line.timeline}, which does not come from timeline {newest}, and that was "
            "received before",
            hint=_HINT,
        )
    known = _switches(stored.histories.get(newest, ()))
    if known and told[: len(known)] != known:
        left = ", ".join(f"{timeline} at {format_lsn(lsn)}" for timeline, lsn in told[: len(known)])
        raise Refused(
            f"{line.who} came to timeline {newest} in another way than what was received before: "
            f"it left timeline {left}",
            hint=_HINT,
        )
    _refuse_less(line, stored)


def _refuse_less(line: Line, stored: StoredWal) -> None:
    """A primary never has less than it sent: who has was put back to an older state, and writes other WAL there."""
    ends = [start + stored.segment_size for timeline, start in stored.complete if timeline == line.timeline]
    ends += [tail.end for tail in stored.tails if tail.timeline == line.timeline]
    if not line.is_standby and line.flush_lsn < max(ends, default=0):
        raise Refused(
            f"{line.who} has WAL up to {format_lsn(line.flush_lsn)} of timeline {line.timeline}, and "
            f"{format_lsn(max(ends))} was received before: it was put back to an older state",
            hint=_HINT,
        )


def newest_timeline(stored: StoredWal) -> int:
    """Return the newest timeline of which anything is stored; 0 if nothing is."""
    return max(
        [
            0,
            *(timeline for timeline, _ in stored.complete),
            *(tail.timeline for tail in stored.tails),
            *stored.histories,
            *(mark.timeline for mark in stored.marks),
        ]
    )


def go_on(line: Line, timeline: int, lsn: int, segment_size: int) -> tuple[int, int]:
    """Return where receiving goes on, where what is stored goes on at lsn of timeline.

    A standby that lagged behind was promoted before that: then it is where the server left that timeline.
    """
    for place, ancestor in enumerate(line.ancestors):
        if ancestor.timeline == timeline and lsn > ancestor.switch_lsn:
            later = [each.timeline for each in line.ancestors[place + 1 :]]
            return [*later, line.timeline][0], segment_start(ancestor.switch_lsn, segment_size)
    return timeline, lsn


def _switches(ancestors: Sequence[Ancestor]) -> list[tuple[int, int]]:
    return [(each.timeline, each.switch_lsn) for each in ancestors]
