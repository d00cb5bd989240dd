"""In place: named volumes of a system that runs come back beside the old ones, and are switched. Pure.

Until the switch nothing that runs is touched. Then what uses the claims is stopped, each name is given to the new
volume, and what was stopped is started again. The old volumes are kept; nothing else of the namespace is changed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from drtool.policy.schema import Policy
from drtool.policy.volumes import FilesVolume, PostgresVolume, RedisVolume
from drtool.recovery.makers import controller_of, ended_notes, pod_refusals
from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import Json, Ref, kind_of, part, pod_template_of, ref_of, spec_of
from drtool.recovery.manifests.quantity import quantity
from drtool.recovery.places import Place, place_of
from drtool.recovery.points import VolumePoint
from drtool.recovery.refusal import Refusal
from drtool.recovery.wishes import Wishes

_CLAIM: Final = ("", "PersistentVolumeClaim")
_VOLUME: Final = ("", "PersistentVolume")
_CRON_JOB: Final = ("batch", "CronJob")
_METADATA: Final = (
    "name",
    "namespace",
    "labels",
)  # no owner: it may be another by now, and take the data along
_KEPT: Final = ("accessModes", "resources", "storageClassName", "volumeMode", "volumeAttributesClassName")
_OF_A_VOLUME: Final = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")
_BESIDE_HINT: Final = "Restore it with --to-dir, or the whole system into another namespace."


@dataclass(frozen=True, slots=True)
class Switch:
    """A claim that gets another volume. beside is what the new claim is called until then.

    It is empty for a replica of a PostgreSQL: it gets an empty volume, and clones the first pod when it starts. body is
    the claim as it is made anew under its own name; nodes is on which nodes its volume can be used, empty
    where that is not told: the new one has to be of use there, too.
    """

    volume: str
    claim: str
    beside: str
    body: Json = field(repr=False)
    nodes: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InPlace:
    """What is switched, what is stopped for it, and what speaks against it or should be known."""

    switches: tuple[Switch, ...]
    stopped: tuple[Ref, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]


def in_place_of(
    policy: Policy,
    volumes: Iterable[VolumePoint],
    objects: Sequence[Json],
    told: Mapping[str, Mapping[str, Any]],
    wishes: Wishes,
    now: datetime,
) -> InPlace:
    """Return how volumes are switched where objects stand now: workloads with their pods, claims and volumes.

    told is what each point tells of its server.
    """
    switches: list[Switch] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
    for each in volumes:
        place = _place(policy, each.volume, objects, told.get(each.volume, {}))
        found = (
            place
            if isinstance(place, Refusal)
            else _switch(each.volume, place, objects, f"{now:%Y%m%dt%H%M%Sz}")
        )
        if isinstance(found, Refusal):
            refusals.append(found)
            continue
        switches += [found, *_clones(policy, found, objects)]
        if isinstance(place, Place) and place.path:
            notes.append(f"claim {found.claim}: what lies there beside {place.path} stays in the old volume")
    claims = {each.claim for each in switches}
    notes += [*_alike(policy, switches, objects), *ended_notes(objects, claims)]
    refusals += _shared(policy, switches, objects)
    users = [each for each in objects if stops_pods(each) and any(uses(each, claim) for claim in claims)]
    refusals += [refusal for each in users for refusal in _user_refusals(policy, each, switches)]
    stopped = tuple(sorted(ref_of(each) for each in users if runs(each)))
    refusals += pod_refusals(objects, claims, stopped)
    for switch in switches:
        asked = spec_of(switch.body)
        if "storageClassName" in asked:
            named = asked["storageClassName"]
            asked["storageClassName"] = wishes.classes.get(named, named)
    return InPlace(tuple(switches), stopped, tuple(refusals), tuple(notes))


def uses(item: Json, claim: str) -> bool:
    """Return whether pods of a workload use a claim: by its name, or as one that is made for each of them."""
    pod = part(pod_template_of(item), "spec")
    named = [part(each, "persistentVolumeClaim").get("claimName") for each in pod.get("volumes") or []]
    return claim in named or _ordinal(item, claim) is not None


def claims_of_other_pods(claim: str, objects: Sequence[Json]) -> Iterator[tuple[Ref, Json]]:
    """Yield the StatefulSet that a claim was made for, with each claim that has a volume for another pod of it."""
    stem = claim.rpartition("-")[0]
    claims = [each for each in objects if kind_of(each) == _CLAIM and spec_of(each).get("volumeName")]
    for item in (each for each in objects if _ordinal(each, claim) is not None):
        for other in claims:
            name = str(other["metadata"]["name"])
            if name != claim and name.rpartition("-")[0] == stem and _ordinal(item, name) is not None:
                yield ref_of(item), other


def beside_claims(switches: Iterable[Switch]) -> Iterator[Json]:
    """Yield the new claims that are filled, as they are made beside the old ones."""
    for each in (switch for switch in switches if switch.beside):
        metadata = {"name": each.beside, "namespace": each.body["metadata"]["namespace"]}
        yield {**each.body, "metadata": metadata}


def placed_beside(place: Place, switch: Switch) -> Place | Refusal:
    """Return place as it is in the new claim: on a node where pods with the old one run."""
    if place.claim != switch.claim:
        said = f"lies in claim {place.claim}, and the plan switches {switch.claim}"
        return Refusal(f"volume {switch.volume}", said, "Plan again.")
    placement = {
        key: value for key, value in place.placement.items() if key != "affinity" or not switch.nodes
    }
    if switch.nodes:
        required = {"requiredDuringSchedulingIgnoredDuringExecution": switch.nodes}
        placement["affinity"] = {"nodeAffinity": required}
    return replace(place, claim=switch.beside, placement=placement)


def _place(policy: Policy, name: str, objects: Sequence[Json], told: Mapping[str, Any]) -> Place | Refusal:
    volume, about = policy.volume(name), f"volume {name}"
    if not isinstance(volume, PostgresVolume | RedisVolume | FilesVolume):
        said = f"is of source {volume.source}, and in place come PostgreSQL, Redis and files"
        return Refusal(about, said, "Name the other volumes only.")
    if isinstance(volume, RedisVolume) and (volume.sentinel is not None or volume.broker != "restore"):
        why = (
            "is watched by Sentinels" if volume.sentinel is not None else f"is to {volume.broker} its queues"
        )
        return Refusal(about, f"{why}, which takes more than another volume", _BESIDE_HINT)
    place = place_of(volume, objects, told)
    if isinstance(place, Place) and place.claim is None:
        return Refusal(about, f"has no claim: its data goes with pod {place.pod}", _BESIDE_HINT)
    return place


def _switch(volume: str, place: Place, objects: Sequence[Json], mark: str) -> Switch | Refusal:
    name = place.claim or ""
    claim = _find(objects, _CLAIM, name)
    bound = _find(objects, _VOLUME, str(spec_of(claim or {}).get("volumeName")))
    if claim is None or bound is None or part(claim, "status").get("phase") != "Bound":
        said = "is not there with a volume, so nothing can come back beside that"
        return Refusal(f"claim {name}", said, "Restore without --in-place.")
    nodes = part(bound, "spec", "nodeAffinity", "required")
    return Switch(volume, name, f"{name}-{mark}", _anew(claim), nodes)


def _clones(policy: Policy, first: Switch, objects: Sequence[Json]) -> Iterator[Switch]:
    """Yield the claims of a PostgreSQL's other pods of the same StatefulSet: they hold another life from then on."""
    if not isinstance(policy.volume(first.volume), PostgresVolume):
        return
    for _, claim in claims_of_other_pods(first.claim, objects):
        yield Switch(first.volume, claim["metadata"]["name"], "", _anew(claim))


def _anew(claim: Json) -> Json:
    """Return a claim as it is made anew: as large as it is, and without what bound it."""
    metadata = claim["metadata"]
    body: Json = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {key: metadata[key] for key in _METADATA if metadata.get(key)},
        "spec": {key: claim["spec"][key] for key in _KEPT if key in claim["spec"]},
    }
    had = part(claim, "metadata", "annotations").items()
    annotations = {key: value for key, value in had if not key.startswith(_OF_A_VOLUME)}
    body["metadata"] |= {"annotations": annotations} if annotations else {}
    room = part(claim, "status", "capacity").get("storage", 0)
    asked = part(body, "spec", "resources", "requests")
    if quantity(room) > quantity(asked.get("storage", 0)):
        body["spec"]["resources"] = {**body["spec"]["resources"], "requests": {**asked, "storage": room}}
    return body


def _shared(policy: Policy, switches: Sequence[Switch], objects: Sequence[Json]) -> Iterator[Refusal]:
    """Yield the claims on which other volumes lie, whose newest data would stay behind in the old one."""
    for volume in policy.volumes:
        place = place_of(volume, objects, {})
        claim = place.claim if isinstance(place, Place) else None
        for each in switches:
            if each.claim == claim and each.volume != volume.name:
                said = f"has volume {volume.name} beside {each.volume}, which would not come along"
                yield Refusal(f"claim {each.claim}", said, _BESIDE_HINT)


def _alike(policy: Policy, switches: Sequence[Switch], objects: Sequence[Json]) -> Iterator[str]:
    """Yield what may be a standby of a PostgreSQL that goes back: other workloads that run what its pods run."""
    claims = [each.claim for each in switches]
    workloads = [each for each in objects if is_workload(*kind_of(each)) and runs(each) and stops_pods(each)]
    for switch in switches:
        if not switch.beside or not isinstance(policy.volume(switch.volume), PostgresVolume):
            continue
        run = {image for each in workloads if uses(each, switch.claim) for image in _images(each)}
        for each in workloads:
            if _images(each) & run and not any(uses(each, claim) for claim in claims):
                yield (
                    f"{ref_of(each)} runs an image of {switch.volume}, too: if it is a standby of it, it goes on with "
                    "the life before, and has to be cloned anew"
                )


def _images(item: Json) -> set[str]:
    return {each["image"] for each in part(pod_template_of(item), "spec").get("containers") or []}


def stops_pods(item: Json) -> bool:
    """Return whether this is what pods are stopped by; of those that make each other, the first."""
    kind, owner = kind_of(item), controller_of(item)
    return (is_workload(*kind) or kind == _CRON_JOB) and owner.get("kind") != "Deployment"


def _user_refusals(policy: Policy, item: Json, switches: Iterable[Switch]) -> Iterator[Refusal]:
    """Yield why a workload that uses one of the claims cannot be stopped, or not be started again."""
    about, owner = str(ref_of(item)), controller_of(item)
    if owner:
        said = f"is kept by {owner['kind']} {owner['name']}, which would start it again"
        yield Refusal(about, said, "Stop it by the means of its operator, and restore without --in-place.")
    elif item["kind"] == "DaemonSet":
        yield Refusal(about, "uses the claim on every node, and is not stopped for a switch", _BESIDE_HINT)
    count, first = int(spec_of(item).get("replicas", 1)), int(part(item, "spec", "ordinals").get("start", 0))
    for each in (switch for switch in switches if switch.beside):
        number = _ordinal(item, each.claim)
        if number is None or count <= 1:
            continue
        if not isinstance(policy.volume(each.volume), PostgresVolume):
            said = f"has {count} pods with a volume each: the others would hold another life of {each.volume}"
            yield Refusal(about, said, f"Scale it to 1, and take the other claims away. {_BESIDE_HINT}")
        elif int(number) != first:
            said = (
                f"starts with pod {first}, and {each.volume} goes back in pod {number}: nobody could clone it"
            )
            yield Refusal(about, said, _BESIDE_HINT)


def runs(item: Json) -> bool:
    """Return whether a workload or a CronJob makes pods as it stands."""
    return spec_of(item).get("replicas") != 0 and not spec_of(item).get("suspend")


def _ordinal(item: Json, claim: str) -> str | None:
    """Return the number of the pod of a StatefulSet that a claim was made for; None for any other claim."""
    for each in spec_of(item).get("volumeClaimTemplates") or []:
        number = claim.removeprefix(f"{each['metadata']['name']}-{item['metadata']['name']}-")
        if number != claim and number.isdecimal():
            return number
    return None


def _find(objects: Iterable[Json], kind: tuple[str, str], name: str) -> Json | None:
    return next(
        (each for each in objects if kind_of(each) == kind and each["metadata"]["name"] == name), None
    )
