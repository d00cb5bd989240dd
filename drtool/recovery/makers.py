"""The pods on claims that are switched: who makes them, and what makes that. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from drtool.recovery.manifests.objects import Json, Ref, kind_of, part, spec_of
from drtool.recovery.refusal import Refusal

_ENDED: Final = ("Succeeded", "Failed")


def pod_refusals(objects: Sequence[Json], claims: Iterable[str], stopped: Iterable[Ref]) -> Iterator[Refusal]:
    """Yield the pods on claims that nothing which is stopped makes."""
    makers = {(ref.kind, ref.name) for ref in stopped}
    for pod in _pods_on(objects, claims):
        if _has_ended(pod) or _makers_of(pod, objects) & makers:
            continue
        who = controller_of(pod)
        said = f"is of {who['kind']} {who['name']}" if who else "is of no workload"
        hint = "Wait for its end, or delete it; then plan again."
        yield Refusal(f"pod {pod['metadata']['name']}", f"uses a claim that is switched, and {said}", hint)


def ended_notes(objects: Sequence[Json], claims: Iterable[str]) -> Iterator[str]:
    """Yield what is said of pods on claims that have ended: as long as they are there, a claim is not deleted."""
    names = [pod["metadata"]["name"] for pod in _pods_on(objects, claims) if _has_ended(pod)]
    if names:
        yield f"pods that have ended and hold a claim are deleted by the switch: {', '.join(sorted(names))}"


def _pods_on(objects: Sequence[Json], claims: Iterable[str]) -> Iterator[Json]:
    names = set(claims)
    for pod in (each for each in objects if kind_of(each) == ("", "Pod")):
        volumes = spec_of(pod).get("volumes") or []
        if names.intersection(part(each, "persistentVolumeClaim").get("claimName") for each in volumes):
            yield pod


def _has_ended(pod: Json) -> bool:
    return part(pod, "status").get("phase") in _ENDED


def _makers_of(pod: Json, objects: Sequence[Json]) -> set[tuple[str, str]]:
    """Return what makes a pod, and what makes that: Jobs come of CronJobs, ReplicaSets of Deployments."""
    found: set[tuple[str, str]] = set()
    item: Json | None = pod
    while item is not None and (owner := controller_of(item)):
        found.add((owner["kind"], owner["name"]))
        item = next(
            (
                each
                for each in objects
                if (each["kind"], each["metadata"]["name"]) == (owner["kind"], owner["name"])
            ),
            None,
        )
    return found


def controller_of(item: Json) -> Json:
    """Return the reference to what keeps an object; empty where nothing does."""
    owners: list[Json] = item["metadata"].get("ownerReferences") or []
    return next((each for each in owners if each.get("controller")), {})
