"""What a policy will cost: points, objects, requests and bytes, as an estimate from above."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from drtool.policy.cadence import Cadence, tail_interval
from drtool.policy.retention import Retention
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, Volume

MONTH = timedelta(days=30)
PACK_BYTES = 32 * 1024 * 1024
_OBJECTS_A_RUN = 4  # a pack, a list, a snapshot, a run event
_LISTS_A_RUN = 2  # what was there before, what is there before the snapshot is written


@dataclass(frozen=True, slots=True)
class Cost:
    """Points kept at most; objects written and requests sent in a month; bytes kept, None while no size is known.

    Unchanged data counts once for each window that the points span, changes and the volume of WAL are unknown.
    """

    points: int
    objects: int
    requests: int
    stored_bytes: int | None


def cost(policy: Policy, volume: Volume, pace: Cadence, size_bytes: int | None = None) -> Cost:
    """Return what volume costs. size_bytes is that of one point, compressed, once it was measured."""
    gap = pace.schedule.longest_gap()
    runs = ceil(MONTH / gap)
    tails = ceil(MONTH / tail_interval(policy, volume)) if isinstance(volume, PostgresVolume) else 0
    points = points_kept(policy.retention_of(volume), gap)
    objects = runs * _OBJECTS_A_RUN + tails
    stored = None
    if size_bytes is not None:
        copies = min(points, ceil(points * gap / volume.window) + 1) if volume.window else points
        stored = size_bytes * copies
        objects += ceil(size_bytes / PACK_BYTES) * ceil(MONTH / (volume.window or gap))
    return Cost(points, objects, requests=objects + runs * _LISTS_A_RUN, stored_bytes=stored)


def points_kept(rules: Retention, gap: timedelta) -> int:
    """Return how many points rules keep at most when one comes every gap; a point of two rules counts twice."""
    floored = [
        max(count, ceil(rules.at_least / max(length, gap)) + 1 if rules.at_least else 0)
        for _, count, length in rules.periods()
        if count
    ]
    if not floored:
        return max(rules.last, ceil(rules.at_least / gap))
    return rules.last + sum(floored)
