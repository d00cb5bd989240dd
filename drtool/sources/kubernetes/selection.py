"""Which objects of a namespace are captured, and why the others are left out: they are made anew by whoever made them.

The reasons are those of the projects that restored too much before; each has its test.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drtool.policy.kinds import matches, matches_any
from drtool.sources.kubernetes.resource import Json, Resource

OWN: Final = ("app.kubernetes.io/part-of", "drtool")  # the label of all that drtool deploys

# Kinds that no backup should hold: what a cluster says of itself, what its programs agree on, what is made of others.
_NEVER: Final = (
    *("core/Event", "events.k8s.io/Event", "coordination.k8s.io/Lease", "core/Node", "core/ComponentStatus"),
    *("storage.k8s.io/CSIStorageCapacity", "metrics.k8s.io/*", "*.metrics.k8s.io/*"),
    *("k3s.cattle.io/*", "acme.cert-manager.io/*", "cert-manager.io/CertificateRequest"),
    *("longhorn.io/*", "snapshot.storage.k8s.io/*"),  # a volume's own source captures these
    "core/PodTemplate",  # read by nothing, and not in the rights of a namespace's admin
)
# What a controller made and nobody can make again: passwords, certificates, data.
_PRECIOUS: Final = frozenset({("", "Secret"), ("", "ConfigMap"), ("", "PersistentVolumeClaim")})

_PUBLISHED: Final = frozenset(  # into every namespace, by the cluster itself
    {
        "kube-root-ca.crt",
        "istio-ca-root-cert",
        "openshift-service-ca.crt",
        "extension-apiserver-authentication",
    }
)
_RANDOM: Final = "[bcdfghjklmnpqrstvwxz2456789]{5}"  # Kubernetes: apimachinery/pkg/util/rand
_TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secret
_ACCOUNT: Final = "kubernetes.io/service-account.name"


@dataclass(frozen=True, slots=True)
class Filter:
    """What a policy takes of a namespace: patterns of kinds. No include takes all."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, group: str, kind: str) -> bool:
        """Return whether the policy asks for a kind."""
        if self.include and not matches_any(self.include, group, kind):
            return False
        return not matches_any(self.exclude, group, kind)

    def idle(self, kinds: Iterable[tuple[str, str]]) -> list[str]:
        """Return the patterns that name none of kinds, (group, kind) each."""
        there = list(kinds)
        patterns = (*self.include, *self.exclude)
        return [each for each in patterns if not any(matches(each, *kind) for kind in there)]


@dataclass(frozen=True, slots=True)
class Around:
    """What else there is in the namespace, as far as it decides on an object.

    is_read tells whether objects of a (group, kind) are read; selecting are the names of Services with a selector.
    """

    is_read: Callable[[str, str], bool]
    selecting: set[str]


def is_captured(resource: Resource) -> bool:
    """Return whether objects of a kind are worth listing: they live in a namespace, and a backup should hold them."""
    listed = resource.namespaced and "list" in resource.verbs
    return listed and not matches_any(_NEVER, resource.group, resource.kind)


def is_group_captured(group: str) -> bool:
    """Return whether a backup should hold any kind of a group."""
    return not matches_any(_NEVER, group, "*")


def why_left_out(item: Json, around: Around) -> str | None:
    """Return why an object is not captured, in words that count well; None for one that is."""
    metadata = item["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if labels.get(OWN[0]) == OWN[1]:
        return "drtool's own"
    if labels.get("kubernetes.io/bootstrapping") == "rbac-defaults":
        return "a default of the cluster"
    if "control-plane.alpha.kubernetes.io/leader" in annotations:
        return "a lock"
    kind = (group_of(item["apiVersion"]), item["kind"])
    if kind not in _PRECIOUS and _is_made_by_another(metadata, around):
        return "made by its owner"
    special = _SPECIAL.get(kind)
    return special(item, annotations, around) if special else None


def _is_made_by_another(metadata: Json, around: Around) -> bool:
    """Return whether a controller that comes back made it. One that the policy excludes takes what it made along."""
    owners = metadata.get("ownerReferences") or []
    return any(
        each.get("controller") and around.is_read(group_of(each["apiVersion"]), each["kind"])
        for each in owners
    )


def group_of(api_version: str) -> str:
    """Return the group of an apiVersion; empty for the core."""
    return api_version.rpartition("/")[0]


def _pod(item: Json, annotations: Mapping[str, str], _around: Around) -> str | None:
    if "kubernetes.io/config.mirror" in annotations:
        return "run by a node itself"
    return "ended" if _status(item).get("phase") in ("Succeeded", "Failed") else None


def _job(item: Json, _annotations: Mapping[str, str], _around: Around) -> str | None:
    ended = [
        each
        for each in _status(item).get("conditions") or []
        if each["type"] in ("Complete", "Failed") and each["status"] == "True"
    ]
    return "ended" if ended else None


def _endpoints(item: Json, annotations: Mapping[str, str], around: Around) -> str | None:
    """Only those that a person wrote for a Service without a selector are kept."""
    by_controller = "endpoints.kubernetes.io/last-change-trigger-time" in annotations
    return "made by its owner" if by_controller or item["metadata"]["name"] in around.selecting else None


def _slice(item: Json, _annotations: Mapping[str, str], around: Around) -> str | None:
    labels = item["metadata"].get("labels") or {}
    return "made by its owner" if labels.get("kubernetes.io/service-name") in around.selecting else None


def _secret(item: Json, annotations: Mapping[str, str], _around: Around) -> str | None:
    """A token that somebody asked for by name is kept; one that the cluster made by itself is not."""
    name, kind = item["metadata"]["name"], item.get("type")
    made_up = re.fullmatch(f"{re.escape(annotations.get(_ACCOUNT, ''))}-token-{_RANDOM}", name)
    if kind == "bootstrap.kubernetes.io/token" or (kind == _TOKEN and made_up):
        return "a token of the cluster"
    return "of a node" if name.endswith(".node-password.k3s") or name == "k3s-serving" else None


def _config_map(item: Json, _annotations: Mapping[str, str], _around: Around) -> str | None:
    return "published by the cluster" if item["metadata"]["name"] in _PUBLISHED else None


def _status(item: Json) -> dict[str, Any]:
    return item.get("status") or {}


_SPECIAL: Final = {
    ("", "Pod"): _pod,
    ("batch", "Job"): _job,
    ("", "Endpoints"): _endpoints,
    ("discovery.k8s.io", "EndpointSlice"): _slice,
    ("", "Secret"): _secret,
    ("", "ConfigMap"): _config_map,
}
