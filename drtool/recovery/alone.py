"""Volumes that come back without the objects around them: into claims that stand in the target, below nothing. Pure.

A mover fills a claim that is there and empty. Where there is none, or where it takes more than a claim, that is
refused in the plan, with the way that there is: the run would only find it out once it is under way.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, RedisVolume
from drtool.recovery.hosts import workloads_of
from drtool.recovery.in_place import claims_of_other_pods, uses
from drtool.recovery.manifests.objects import Json, kind_of, ref_of
from drtool.recovery.places import Place, place_of
from drtool.recovery.points import VolumePoint
from drtool.recovery.refusal import Refusal
from drtool.recovery.wishes import Wishes

_CLAIM: Final = ("", "PersistentVolumeClaim")


@dataclass(frozen=True, slots=True)
class Alone:
    """Where volumes go that come back alone: into which claims, what speaks against it, what is left to a person."""

    claims: tuple[tuple[VolumePoint, Json], ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


def is_alone(policy: Policy, wishes: Wishes) -> bool:
    """Return whether no objects come back: what stands in the target decides where data goes."""
    wished = wishes.volumes or [each.name for each in policy.volumes]
    return all(policy.volume(name).source != "manifests" for name in wished)


def alone_of(
    policy: Policy,
    volumes: Iterable[VolumePoint],
    objects: Sequence[Json],
    told: Mapping[str, Mapping[str, Any]],
    *,
    enrol: bool = False,
) -> Alone:
    """Return where volumes go among objects, which stand in the target. told is what points tell of their servers.

    enrol: a new writer takes a first backup in the end.
    """
    there = {each["metadata"]["name"]: each for each in objects if kind_of(each) == _CLAIM}
    claims: list[tuple[VolumePoint, Json]] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
    for each in volumes:
        volume = policy.volume(each.volume)
        place = place_of(volume, objects, told.get(each.volume, {}))
        refusals += _against(policy, each.volume, place, there)
        claim = place.claim if isinstance(place, Place) else None
        if claim is not None and claim in there:
            claims.append((each, there[claim]))
            notes.append(_left(each.volume, claim, objects))
            notes += _other_lives(policy, each.volume, claim, objects)
    servers = [each.volume for each, _ in claims if _is_served(policy, each.volume)]
    if enrol and servers:
        notes.append(
            f"the first backup ends this run as long as {', '.join(servers)} cannot be reached, and nothing is started "
            "here: start each once its data is proven, or start them after that end, and go on with --resume"
        )
    return Alone(tuple(claims), tuple(refusals), tuple(notes))


def _against(policy: Policy, name: str, place: Place | Refusal, there: Collection[str]) -> Iterator[Refusal]:
    volume, way = policy.volume(name), _way(policy)
    if isinstance(volume, RedisVolume) and (volume.sentinel is not None or volume.broker != "restore"):
        why = "is found by Sentinels" if volume.sentinel is not None else f"is to {volume.broker} its queues"
        yield Refusal(f"volume {name}", f"{why}, which takes more than its claim", way)
    if isinstance(place, Refusal):
        yield Refusal(place.about, f"{place.message}; no objects come back with it", f"{place.hint} {way}")
    elif place.claim is None:
        said = f"has no claim in the target: its data goes with pod {place.pod}"
        yield Refusal(f"volume {name}", said, way)
    elif place.claim not in there:
        said = f"lies in claim {place.claim}, which is not there, and no objects come back with it"
        yield Refusal(f"volume {name}", said, f"{way} Or make the claim, and plan again.")


def _way(policy: Policy) -> str:
    names = [each.name for each in policy.volumes if each.source == "manifests"]
    if not names:
        return "Restore it with --to-dir, and bring it to its place by hand."
    return f"Name {names[0]} beside it: what its data lies in comes back with the objects."


def _left(name: str, claim: str, objects: Sequence[Json]) -> str:
    """Return what is said of a claim that stands: nobody has looked into it, and the plan starts nothing."""
    users = [str(ref_of(each)) for each in workloads_of(objects) if uses(each, claim)]
    then = (
        f"start {', '.join(sorted(users))} once it is back" if users else "nothing is made yet that uses it"
    )
    return f"volume {name}: it goes into claim {claim} as that stands, which has to be empty; {then}"


def _other_lives(policy: Policy, name: str, claim: str, objects: Sequence[Json]) -> Iterator[str]:
    """Yield the claims of a server's other pods: nothing fills them, and a standby would go on with what is there."""
    if _is_served(policy, name):
        for owner, other in claims_of_other_pods(claim, objects):
            yield (
                f"volume {name}: claim {other['metadata']['name']} of another pod of {owner} stays as it is: if it has "
                "the life before, delete it once the data is back, before that pod starts"
            )


def _is_served(policy: Policy, name: str) -> bool:
    return isinstance(policy.volume(name), PostgresVolume | RedisVolume)
