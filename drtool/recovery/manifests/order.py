"""When each kind is applied: its phase, and its rank in it. What others need comes first; what takes traffic, late.

Last of all is what the API server asks before it takes anything: webhooks, and the servers of other APIs.
"""

from typing import Final, Literal, NamedTuple

from drtool.policy.kinds import CORE

PhaseName = Literal["infrastructure", "deployment", "data", "testing"]
PHASES: Final[tuple[PhaseName, ...]] = ("infrastructure", "deployment", "data", "testing")


class Place(NamedTuple):
    """Where in the plan a kind is applied."""

    phase: PhaseName
    rank: int


_ORDER: Final[dict[PhaseName, tuple[tuple[str, ...], ...]]] = {
    "infrastructure": (
        ("apiextensions.k8s.io/CustomResourceDefinition",),
        (
            "scheduling.k8s.io/PriorityClass",
            "storage.k8s.io/StorageClass",
            "networking.k8s.io/IngressClass",
            "node.k8s.io/RuntimeClass",
        ),
        ("core/Namespace",),
        ("core/ResourceQuota", "core/LimitRange"),
        ("rbac.authorization.k8s.io/ClusterRole", "rbac.authorization.k8s.io/Role"),
        ("core/ServiceAccount",),
        ("core/Secret", "core/ConfigMap"),
        ("rbac.authorization.k8s.io/ClusterRoleBinding", "rbac.authorization.k8s.io/RoleBinding"),
        ("networking.k8s.io/NetworkPolicy",),
    ),
    "deployment": (
        ("core/Service",),
        ("core/Endpoints", "discovery.k8s.io/EndpointSlice"),
        (
            "apps/Deployment",
            "apps/StatefulSet",
            "apps/DaemonSet",
            "apps/ReplicaSet",
            "core/ReplicationController",
        ),
        ("batch/CronJob",),
        ("*",),
    ),
    "data": (("core/PersistentVolume",), ("core/PersistentVolumeClaim",)),
    "testing": (
        ("batch/Job", "core/Pod"),
        ("autoscaling/HorizontalPodAutoscaler", "keda.sh/*", "policy/PodDisruptionBudget"),
        ("networking.k8s.io/Ingress", "gateway.networking.k8s.io/*", "traefik.io/*"),
        ("apiregistration.k8s.io/APIService",),
        (
            "admissionregistration.k8s.io/MutatingWebhookConfiguration",
            "admissionregistration.k8s.io/ValidatingWebhookConfiguration",
        ),
    ),
}
_PLACES: Final = {
    pattern: Place(phase, rank)
    for phase, ranks in _ORDER.items()
    for rank, patterns in enumerate(ranks)
    for pattern in patterns
}
JOBS: Final = _PLACES["batch/Job"]
_LAST: Final = _PLACES["apiregistration.k8s.io/APIService"]


def place_of(group: str, kind: str) -> Place:
    """Return where a kind is applied; kinds that nobody knows come behind the workloads, which wait."""
    for pattern in (f"{group or CORE}/{kind}", f"{group}/*"):
        if pattern in _PLACES:
            return _PLACES[pattern]
    return _PLACES["*"]


def is_last(place: Place) -> bool:
    """Return whether it is applied behind all else of a plan: one that nobody answers would refuse what comes then."""
    return place.phase == _LAST.phase and place.rank >= _LAST.rank
