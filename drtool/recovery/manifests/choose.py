"""Which captured objects are not brought back, and why: what somebody makes anew, and what would act too early.

A capture leaves most of them out already; a restore does not rely on that. Numbers are those of the pitfalls that
projects before fell into.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drtool.policy.kinds import matches_any
from drtool.policy.made_anew import NEVER, PRECIOUS, why_of_cluster, why_of_kind
from drtool.recovery.manifests.objects import (
    STORAGE,
    Json,
    Ref,
    kind_of,
    ref_of,
    spec_of,
)

_NEVER: Final = (
    *NEVER,
    *(
        "events.k8s.io/*",
        "coordination.k8s.io/*",
        "storage.k8s.io/CSINode",
        "storage.k8s.io/VolumeAttachment",
    ),
    *("helm.cattle.io/*", "apps/ControllerRevision"),
)
_BY_ADDRESS: Final = frozenset(
    {"nfs", "cephfs", "glusterfs"}
)  # what outlives a cluster, and is found by address


@dataclass(frozen=True, slots=True)
class Around:
    """What else was captured, and what is wished, as far as it decides on an object.

    selecting are the Services with a selector; classes map old storage classes to new ones.
    """

    objects: Mapping[Ref, Json]
    selecting: frozenset[str]
    classes: Mapping[str, str]
    with_jobs: bool

    @classmethod
    def of(cls, objects: Sequence[Json], classes: Mapping[str, str], *, with_jobs: bool) -> "Around":
        """Return what the objects are to each other."""
        services = [each for each in objects if kind_of(each) == ("", "Service")]
        selecting = frozenset(each["metadata"]["name"] for each in services if spec_of(each).get("selector"))
        return cls({ref_of(each): each for each in objects}, selecting, classes, with_jobs)

    def has(self, group: str, kind: str, name: str) -> bool:
        """Return whether an object was captured."""
        return Ref(group, kind, name) in self.objects

    def keeps_volume(self, name: str) -> bool:
        """Return whether a PersistentVolume comes back as it is: found by address, and its class not mapped."""
        volume = self.objects.get(Ref("", "PersistentVolume", name))
        spec = spec_of(volume) if volume else {}
        return bool(_BY_ADDRESS & spec.keys()) and spec.get("storageClassName", "") not in self.classes


def why_left_out(item: Json, around: Around) -> str | None:
    """Return why an object is not brought back, in words that count well; None for one that is."""
    group, kind = kind_of(item)
    if matches_any(_NEVER, group, kind):
        return "made anew by the cluster"
    why = why_of_cluster(item)
    if why is None and (group, kind) not in PRECIOUS and _is_made_by_another(item, around):
        why = "made by its owner"
    special = _SPECIAL.get((group, kind))
    return why or why_of_kind(item, around.selecting) or (special(item, around) if special else None)


def _is_made_by_another(item: Json, around: Around) -> bool:
    owners = item["metadata"].get("ownerReferences") or []
    return any(
        each.get("controller")
        and around.has(each["apiVersion"].rpartition("/")[0], each["kind"], each["name"])
        for each in owners
    )


def _pod(_item: Json, around: Around) -> str | None:
    return None if around.with_jobs else "a pod of nobody, and not asked for"


def _job(_item: Json, around: Around) -> str | None:
    return None if around.with_jobs else "a Job, and not asked for"


def _replica_set(item: Json, _around: Around) -> str | None:
    """One of nobody is brought back; an old one of a Deployment that was not captured is nobody's work any more."""
    owners = item["metadata"].get("ownerReferences") or []
    return "made by its owner" if any(each.get("controller") for each in owners) else None


def _claim(item: Json, _around: Around) -> str | None:
    """A claim that came with a pod goes with it, and stands in the way of the next one's if it comes back."""
    owners = item["metadata"].get("ownerReferences") or []
    return (
        "made by its pod"
        if any(each["kind"] == "Pod" and each.get("controller") for each in owners)
        else None
    )


def _volume(item: Json, around: Around) -> str | None:
    """A volume that the old cluster kept is dead, or still in use there: its claim gets a new one."""
    return None if around.keeps_volume(item["metadata"]["name"]) else "its claim gets a new volume"


def _storage_class(item: Json, around: Around) -> str | None:
    return "another class takes its place" if item["metadata"]["name"] in around.classes else None


def _api_service(item: Json, _around: Around) -> str | None:
    return "its own server answers for it" if spec_of(item).get("service") else None


_SPECIAL: Final = {
    ("", "Pod"): _pod,
    ("batch", "Job"): _job,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "ReplicationController"): _replica_set,
    ("", "PersistentVolume"): _volume,
    ("", "PersistentVolumeClaim"): _claim,
    (STORAGE, "StorageClass"): _storage_class,
    ("apiregistration.k8s.io", "APIService"): _api_service,
}
