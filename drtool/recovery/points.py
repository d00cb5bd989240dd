"""Which recovery point each volume comes back to, what that loses, and how far apart the volumes then are.

Without a wish each volume takes its newest point. With a moment: the newest point not after it, PostgreSQL exactly
it, a volume marked `at: after` the first that began at or after it. Aligned: the newest moment to which all data can
be brought, which is the oldest of the newest. The objects of a namespace are no data: they follow, if need be with
their oldest point after it, and neither hold the others back nor count for the skew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drtool.policy.durations import brief_duration
from drtool.policy.moments import exact
from drtool.policy.schema import Policy
from drtool.policy.volumes import ManifestsVolume, Volume
from drtool.recovery.refusal import Refusal
from drtool.recovery.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point that a restore may choose: of PostgreSQL, every moment from begin to end can be had of it.

    version is PostgreSQL's major, or that of the RDB.
    """

    volume: str
    source: str
    name: str
    begin: datetime
    end: datetime
    size: int
    version: int | None = None

    @property
    def moment(self) -> datetime:
        """The moment up to which nothing is missing: what was written during a walk may or may not be in it."""
        return self.end if self.source == "postgres" else self.begin


@dataclass(frozen=True, slots=True)
class VolumePoint:
    """What one volume comes back to. target is the moment that PostgreSQL stops at, None for its newest.

    loss is what is lost against the moment that was asked for, else against now; cost is what of that would not be
    lost with the newest point. size is in bytes. version is PostgreSQL's major, or that of the RDB.
    """

    volume: str
    source: str
    point: str
    moment: datetime
    target: datetime | None
    loss: timedelta
    cost: timedelta
    size: int
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The points of all volumes in the order of the policy, and what speaks against them.

    missed says which promise of the policy this choice cannot keep.
    """

    volumes: tuple[VolumePoint, ...]
    skew: timedelta
    missed: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def choose_points(policy: Policy, candidates: Sequence[Candidate], wishes: Wishes, now: datetime) -> Choice:
    """Return the point of each volume that is wished for. Raises UsageError for a volume that the policy has not."""
    for name in wishes.volumes:
        policy.volume(name)
    wanted = [each for each in policy.recovery_order() if not wishes.volumes or each.name in wishes.volumes]
    by_volume = {each.name: [one for one in candidates if one.volume == each.name] for each in wanted}
    at = _common_moment(wanted, by_volume) if wishes.aligned else wishes.at
    found: list[VolumePoint] = []
    refusals: list[Refusal] = []
    for volume in wanted:
        points = by_volume[volume.name]
        chosen = _choose(volume, points, at)
        if isinstance(chosen, Refusal) and wishes.aligned and points and isinstance(volume, ManifestsVolume):
            chosen = min(points, key=_newest)
        if isinstance(chosen, Refusal):
            refusals.append(chosen)
        else:
            newest = max(each.moment for each in points)
            found.append(_volume_point(chosen, at, newest, wishes.at or now))
    skew = _skew(policy, found)
    return Choice(tuple(found), skew, tuple(_missed(policy, found, skew, wishes)), tuple(refusals))


def _common_moment(volumes: Sequence[Volume], points: dict[str, list[Candidate]]) -> datetime | None:
    ends = [
        max(each.end for each in points[volume.name])
        for volume in volumes
        if points[volume.name] and _is_data_before(volume)
    ]
    return min(ends, default=None)


def _is_data_before(volume: Volume) -> bool:
    """Return whether a volume's moment has to fit those of the others."""
    return not isinstance(volume, ManifestsVolume) and volume.at == "before"


def _choose(volume: Volume, points: Sequence[Candidate], at: datetime | None) -> Candidate | Refusal:
    if not points:
        hint = f"`drtool points {volume.name}` shows what there is, and why it does not count."
        return Refusal(f"volume {volume.name}", "has no point that may be chosen", hint)
    if at is None:
        return max(points, key=_newest)
    if volume.at == "after":
        after = [each for each in points if each.begin >= at]
        return min(after, key=_newest) if after else max(points, key=_newest)
    if volume.source == "postgres":
        usable = [each for each in points if each.begin < at <= each.end]
    else:
        usable = [each for each in points if each.end <= at]
    return max(usable, key=_newest) if usable else _unreached(volume, points, at)


def _newest(point: Candidate) -> tuple[datetime, datetime, str]:
    return point.end, point.begin, point.name


def _unreached(volume: Volume, points: Sequence[Candidate], at: datetime) -> Refusal:
    first, last = min(each.begin for each in points), max(each.end for each in points)
    span = (
        f"from {exact(first)} to {exact(last)}"
        if volume.source == "postgres"
        else f"with points from {exact(min(each.end for each in points))} on"
    )
    hint = f"`drtool points {volume.name}` lists them; it can be had {span}."
    return Refusal(f"volume {volume.name}", f"cannot be brought to {exact(at)}", hint)


def _volume_point(
    chosen: Candidate, at: datetime | None, newest: datetime, reference: datetime
) -> VolumePoint:
    target = at if chosen.source == "postgres" else None
    moment = target or chosen.moment
    none = timedelta(0)
    return VolumePoint(
        volume=chosen.volume,
        source=chosen.source,
        point=chosen.name,
        moment=moment,
        target=target,
        loss=max(reference - moment, none),
        cost=max(min(newest, reference) - moment, none),
        size=chosen.size,
        version=chosen.version,
    )


def _skew(policy: Policy, found: Sequence[VolumePoint]) -> timedelta:
    moments = [each.moment for each in found if _is_data_before(policy.volume(each.volume))]
    return max(moments) - min(moments) if moments else timedelta(0)


def _missed(policy: Policy, found: Sequence[VolumePoint], skew: timedelta, wishes: Wishes) -> list[str]:
    most = policy.objectives.max_skew
    told = [
        f"{each.volume} would lose {brief_duration(each.loss)}, and its RPO is {brief_duration(rpo)}"
        for each in found
        if wishes.at is None
        and each.source != "manifests"
        and each.loss > (rpo := policy.rpo(policy.volume(each.volume)))
    ]
    if most is not None and skew > most:
        told.append(
            f"the volumes would be {brief_duration(skew)} apart, and max_skew is {brief_duration(most)}"
        )
    return told
