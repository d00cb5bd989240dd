"""How long a run of each volume may last, and how old a pack may be that it refers to: as policy and repository say."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from drtool.policy.durations import brief_duration
from drtool.policy.schema import Policy
from drtool.policy.take_over import TAKE_OVER
from drtool.policy.volumes import Volume
from drtool.repository.config import Config, VolumeLimits


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit of a volume, as the repository has it and as the policy wants it."""

    volume: str
    limit: Literal["window", "max_run"]
    before: timedelta
    wanted: timedelta

    def __str__(self) -> str:
        return f"{self.limit} of {self.volume}: {brief_duration(self.wanted)} instead of {brief_duration(self.before)}"


def limit_changes(config: Config, volume: Volume) -> Iterator[LimitChange]:
    """Yield where the limits of a volume that config knows are not those of the policy."""
    had = config.volumes.get(volume.name)
    if had is None:
        return
    wanted = limits_of_volume(volume)
    if had.window != wanted.window:
        yield LimitChange(volume.name, "window", _seconds(had.window), _seconds(wanted.window))
    if had.max_run != wanted.max_run:
        yield LimitChange(volume.name, "max_run", _seconds(had.max_run), _seconds(wanted.max_run))


def not_in_force(config: Config, volume: Volume) -> Iterator[str]:
    """Yield each limit that the policy raised and the repository has not taken over, with what mends that."""
    for each in limit_changes(config, volume):
        if each.wanted > each.before:
            have, want = brief_duration(each.before), brief_duration(each.wanted)
            yield f"{each.limit} is {have} in the repository, not the policy's {want}: `{TAKE_OVER}` takes it over"


def limits_given(policy: Policy | None) -> dict[str, VolumeLimits]:
    """Return the limits of a policy that a person gave, None where none was: the admin signs no others.

    The policy that a run told is any writer's word, an intruder's perhaps; a run without end would be signed for good.
    """
    return limits_of(policy) if policy is not None else {}


def taken_over(config: Config, policy: Policy | None) -> Iterator[str]:
    """Yield, for who confirms it, what a config takes over of a policy that a person gave."""
    for volume in policy.volumes if policy is not None else ():
        if volume.name not in config.volumes:
            lasts = brief_duration(_seconds(limits_of_volume(volume).max_run))
            yield f"volume {volume.name}, whose runs may last {lasts}"
        yield from (str(each) for each in limit_changes(config, volume) if each.wanted > each.before)


def limits_of(policy: Policy) -> dict[str, VolumeLimits]:
    """Return the limits of each volume, as a config has them."""
    return {volume.name: limits_of_volume(volume) for volume in policy.volumes}


def limits_of_volume(volume: Volume) -> VolumeLimits:
    """Return the limits of a volume in whole seconds; no run may last none."""
    return VolumeLimits(int(volume.window.total_seconds()), max(1, int(volume.max_run.total_seconds())))


def _seconds(count: int) -> timedelta:
    return timedelta(seconds=count)
