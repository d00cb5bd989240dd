"""How long the data of a plan will take, from how fast it came back before; a guess is not made. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from drtool.policy.durations import brief_duration
from drtool.policy.schema import Policy
from drtool.recovery.points import VolumePoint


@dataclass(frozen=True, slots=True)
class Predicted:
    """How long the data takes, None where a volume was never measured; and the promises that it breaks."""

    data: timedelta | None
    unmeasured: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


def predict(policy: Policy, volumes: Iterable[VolumePoint], pace: Mapping[str, float]) -> Predicted:
    """Return the time for the data of volumes, each proven: one after the other where the policy has an order.

    pace is in bytes a second, by volume. Deploying and starting come on top.
    """
    data = [each for each in volumes if each.source != "manifests"]
    unknown = [each.volume for each in data if each.volume not in pace]
    times = {
        each.volume: timedelta(seconds=each.size / pace[each.volume]) for each in data if each.volume in pace
    }
    last = max(times.values(), default=timedelta())
    least = sum(times.values(), timedelta()) if policy.recovery.order else last
    promised = policy.objectives.rto
    missed = (
        (f"the data alone would take {brief_duration(least)}, and the RTO is {brief_duration(promised)}",)
        if least > promised
        else ()
    )
    return Predicted(None if unknown or not data else least, tuple(unknown), missed)
