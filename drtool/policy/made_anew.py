"""What a cluster and its controllers make by themselves: no backup need hold it, and no restore shall bring it back.

The reasons are those of the projects that restored too much before; each has its test.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from drtool.policy.kinds import group_of

Item = Mapping[str, Any]  # a Kubernetes object as JSON
Why = Callable[[Item, Collection[str]], str | None]

OWN: Final = ("app.kubernetes.io/part-of", "drtool")  # the label of all that drtool deploys

# Kinds that hold what a cluster says of itself, what its programs agree on, what is made of others.
NEVER: Final = (
    *("core/Event", "events.k8s.io/Event", "coordination.k8s.io/Lease", "core/Node", "core/ComponentStatus"),
    *("storage.k8s.io/CSIStorageCapacity", "metrics.k8s.io/*", "*.metrics.k8s.io/*"),
    *("k3s.cattle.io/*", "acme.cert-manager.io/*", "cert-manager.io/CertificateRequest"),
    *(
        "longhorn.io/*",
        "snapshot.storage.k8s.io/*",
    ),  # a volume's own source captures these, or makes new ones
    "core/PodTemplate",  # read by nothing, and not in the rights of a namespace's admin
)
# What a controller made and nobody can make again: passwords, certificates, data.
PRECIOUS: Final = frozenset({("", "Secret"), ("", "ConfigMap"), ("", "PersistentVolumeClaim")})
TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secret
_ACCOUNT: Final = "kubernetes.io/service-account.name"

_PUBLISHED: Final = frozenset(  # into every namespace, by the cluster itself
    {
        "kube-root-ca.crt",
        "istio-ca-root-cert",
        "openshift-service-ca.crt",
        "extension-apiserver-authentication",
    }
)
_LEADER: Final = (
    "control-plane.alpha.kubernetes.io/leader"  # old programs elect one of them by an object of any kind
)
_RANDOM: Final = "[bcdfghjklmnpqrstvwxz2456789]{5}"  # Kubernetes: apimachinery/pkg/util/rand


def why_of_cluster(item: Item) -> str | None:
    """Return why an object of whatever kind is nobody's work, in words that count well; None for one that is."""
    labels = item["metadata"].get("labels") or {}
    if labels.get(OWN[0]) == OWN[1]:
        return "drtool's own"
    if labels.get("kubernetes.io/bootstrapping") == "rbac-defaults":
        return "a default of the cluster"
    return "a lock" if _LEADER in _annotations(item) else None


def why_of_kind(item: Item, selecting: Collection[str]) -> str | None:
    """Return the same by what is known of the kind. selecting are the names of the Services that have a selector."""
    why = _BY_KIND.get((group_of(item["apiVersion"]), item["kind"]))
    return why(item, selecting) if why else None


def _annotations(item: Item) -> Mapping[str, str]:
    return item["metadata"].get("annotations") or {}


def _pod(item: Item, _selecting: Collection[str]) -> str | None:
    if "kubernetes.io/config.mirror" in _annotations(item):
        return "run by a node itself"
    return "ended" if (item.get("status") or {}).get("phase") in ("Succeeded", "Failed") else None


def _job(item: Item, _selecting: Collection[str]) -> str | None:
    conditions = (item.get("status") or {}).get("conditions") or []
    ended = [
        each for each in conditions if each["type"] in ("Complete", "Failed") and each["status"] == "True"
    ]
    return "ended" if ended else None


def _endpoints(item: Item, selecting: Collection[str]) -> str | None:
    """Only those that a person wrote for a Service without a selector are kept."""
    by_controller = "endpoints.kubernetes.io/last-change-trigger-time" in _annotations(item)
    return "made by its owner" if by_controller or item["metadata"]["name"] in selecting else None


def _slice(item: Item, selecting: Collection[str]) -> str | None:
    labels = item["metadata"].get("labels") or {}
    return "made by its owner" if labels.get("kubernetes.io/service-name") in selecting else None


def _secret(item: Item, _selecting: Collection[str]) -> str | None:
    """A token that somebody asked for by name is kept; one that the cluster made by itself is not."""
    name, kind = item["metadata"]["name"], item.get("type")
    made_up = re.fullmatch(f"{re.escape(_annotations(item).get(_ACCOUNT, ''))}-token-{_RANDOM}", name)
    if kind == "bootstrap.kubernetes.io/token" or (kind == TOKEN and made_up):
        return "a token of the cluster"
    return "of a node" if name.endswith(".node-password.k3s") or name == "k3s-serving" else None


def _config_map(item: Item, _selecting: Collection[str]) -> str | None:
    return "published by the cluster" if item["metadata"]["name"] in _PUBLISHED else None


_BY_KIND: Final[Mapping[tuple[str, str], Why]] = {
    ("", "Pod"): _pod,
    ("batch", "Job"): _job,
    ("", "Endpoints"): _endpoints,
    ("discovery.k8s.io", "EndpointSlice"): _slice,
    ("", "Secret"): _secret,
    ("", "ConfigMap"): _config_map,
}
