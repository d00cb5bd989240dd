"""Which captured objects are not brought back, and why: what somebody makes anew, and what would act too early.

A capture leaves most of them out already; a restore does not rely on that. Numbers are those of the pitfalls that
projects before fell into.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drtool.policy.kinds import matches_any
from drtool.recovery.manifests.objects import (
    STORAGE,
    Json,
    Ref,
    annotations_of,
    kind_of,
    part,
    ref_of,
    spec_of,
)

_NEVER: Final = (
    *("core/Event", "events.k8s.io/*", "coordination.k8s.io/*", "core/Node", "core/ComponentStatus"),
    *("storage.k8s.io/CSINode", "storage.k8s.io/CSIStorageCapacity", "storage.k8s.io/VolumeAttachment"),
    *("metrics.k8s.io/*", "*.metrics.k8s.io/*", "k3s.cattle.io/*", "helm.cattle.io/*"),
    *("acme.cert-manager.io/*", "cert-manager.io/CertificateRequest"),
    *("longhorn.io/*", "snapshot.storage.k8s.io/*"),  # the data phase makes its own
    *("apps/ControllerRevision", "core/PodTemplate"),
)
# What a controller made and nobody can make again: passwords, certificates, data.
_PRECIOUS: Final = frozenset({("", "Secret"), ("", "ConfigMap"), ("", "PersistentVolumeClaim")})
_LEADER: Final = "control-plane.alpha.kubernetes.io/leader"  # old programs elect one of them by a ConfigMap
_PUBLISHED: Final = frozenset(
    {
        "kube-root-ca.crt",
        "istio-ca-root-cert",
        "openshift-service-ca.crt",
        "extension-apiserver-authentication",
    }
)
_RANDOM: Final = "[bcdfghjklmnpqrstvwxz2456789]{5}"  # Kubernetes: apimachinery/pkg/util/rand
TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secret
ACCOUNT: Final = "kubernetes.io/service-account.name"
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
    labels = part(item, "metadata", "labels")
    if matches_any(_NEVER, group, kind):
        return "made anew by the cluster"
    if labels.get("app.kubernetes.io/part-of") == "drtool":
        return "drtool's own"
    if labels.get("kubernetes.io/bootstrapping") == "rbac-defaults":
        return "a default of the cluster"
    if (group, kind) not in _PRECIOUS and _is_made_by_another(item, around):
        return "made by its owner"
    special = _SPECIAL.get((group, kind))
    return special(item, around) if special else None


def _is_made_by_another(item: Json, around: Around) -> bool:
    owners = item["metadata"].get("ownerReferences") or []
    return any(
        each.get("controller")
        and around.has(each["apiVersion"].rpartition("/")[0], each["kind"], each["name"])
        for each in owners
    )


def _pod(item: Json, around: Around) -> str | None:
    if "kubernetes.io/config.mirror" in annotations_of(item):
        return "run by a node itself"
    if part(item, "status").get("phase") in ("Succeeded", "Failed"):
        return "ended"
    return None if around.with_jobs else "a pod of nobody, and not asked for"


def _job(item: Json, around: Around) -> str | None:
    ended = [
        each
        for each in part(item, "status").get("conditions") or []
        if each["type"] in ("Complete", "Failed") and each["status"] == "True"
    ]
    if ended:
        return "ended"
    return None if around.with_jobs else "a Job, and not asked for"


def _replica_set(item: Json, _around: Around) -> str | None:
    """One of nobody is brought back; an old one of a Deployment that was not captured is nobody's work any more."""
    owners = item["metadata"].get("ownerReferences") or []
    return "made by its owner" if any(each.get("controller") for each in owners) else None


def _endpoints(item: Json, around: Around) -> str | None:
    made = "endpoints.kubernetes.io/last-change-trigger-time" in annotations_of(item)
    return "made by its owner" if made or item["metadata"]["name"] in around.selecting else None


def _slice(item: Json, around: Around) -> str | None:
    service = part(item, "metadata", "labels").get("kubernetes.io/service-name")
    return "made by its owner" if service in around.selecting else None


def _secret(item: Json, _around: Around) -> str | None:
    name, kind = item["metadata"]["name"], item.get("type")
    account = annotations_of(item).get(ACCOUNT, "")
    made_up = re.fullmatch(f"{re.escape(account)}-token-{_RANDOM}", name)
    if kind == "bootstrap.kubernetes.io/token" or (kind == TOKEN and made_up):
        return "a token of the cluster"
    return "of a node" if name.endswith(".node-password.k3s") or name == "k3s-serving" else None


def _config_map(item: Json, _around: Around) -> str | None:
    if item["metadata"]["name"] in _PUBLISHED:
        return "published by the cluster"
    return "a lock" if _LEADER in annotations_of(item) else None


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
    ("", "Endpoints"): _endpoints,
    ("discovery.k8s.io", "EndpointSlice"): _slice,
    ("", "Secret"): _secret,
    ("", "ConfigMap"): _config_map,
    ("", "PersistentVolume"): _volume,
    (STORAGE, "StorageClass"): _storage_class,
    ("apiregistration.k8s.io", "APIService"): _api_service,
}
