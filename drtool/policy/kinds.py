"""Kinds of Kubernetes objects, as a policy names them, and those that every cluster has."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final

CORE: Final = "core"  # how the group without a name is written in a pattern

# What an application in a namespace is made of: group, kind, plural. This is what the Role for captures lists, so it
# holds nothing that the namespace's `admin` lacks: who applies a Role must have all of its rights.
NAMESPACED: Final = {
    "": {
        "ConfigMap": "configmaps",
        "Endpoints": "endpoints",
        "LimitRange": "limitranges",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "Pod": "pods",
        "ReplicationController": "replicationcontrollers",
        "ResourceQuota": "resourcequotas",
        "Secret": "secrets",
        "Service": "services",
        "ServiceAccount": "serviceaccounts",
    },
    "apps": {
        "ControllerRevision": "controllerrevisions",
        "DaemonSet": "daemonsets",
        "Deployment": "deployments",
        "ReplicaSet": "replicasets",
        "StatefulSet": "statefulsets",
    },
    "autoscaling": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "batch": {"CronJob": "cronjobs", "Job": "jobs"},
    "discovery.k8s.io": {"EndpointSlice": "endpointslices"},
    "networking.k8s.io": {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"},
    "policy": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "rbac.authorization.k8s.io": {"Role": "roles", "RoleBinding": "rolebindings"},
    "resource.k8s.io": {
        "ResourceClaim": "resourceclaims",
        "ResourceClaimTemplate": "resourceclaimtemplates",
    },
}

# Those of which a namespace's `admin` has no right on every cluster: not before 1.34, where dynamic resources are on by
# themselves. A Role that held them could not be applied there, so they are in it only where a policy names the group.
OPTIONAL: Final = frozenset({"resource.k8s.io"})

# What those may need beside them: read where a ClusterRole allows it, noted as not captured where none does.
CLUSTER: Final = {
    "": {"Namespace": "namespaces", "PersistentVolume": "persistentvolumes"},
    "admissionregistration.k8s.io": {
        "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
        "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    },
    "apiextensions.k8s.io": {"CustomResourceDefinition": "customresourcedefinitions"},
    "networking.k8s.io": {"IngressClass": "ingressclasses"},
    "rbac.authorization.k8s.io": {
        "ClusterRole": "clusterroles",
        "ClusterRoleBinding": "clusterrolebindings",
    },
    "scheduling.k8s.io": {"PriorityClass": "priorityclasses"},
    "storage.k8s.io": {"StorageClass": "storageclasses"},
}

_ALL: Final = [*NAMESPACED.values(), *CLUSTER.values()]
_PLURALS: Final = {plural: kind for kinds in _ALL for kind, plural in kinds.items()}
_KINDS: Final = sorted(_PLURALS.values())
_WORDS: Final = {kind.lower(): kind for kind in _KINDS} | _PLURALS
_GROUPS: Final = sorted({CORE, *NAMESPACED, *CLUSTER} - {""})
PATTERN: Final = r"([a-z0-9.*?-]+/)?[A-Za-z0-9*?]+"
_WILD: Final = re.compile(r"[*?]")
_NEAR: Final = 0.88  # a name this like one that we know is that one, misspelt


def group_of(api_version: str) -> str:
    """Return the group of an apiVersion; empty for the core."""
    return api_version.rpartition("/")[0]


def matches(pattern: str, group: str, kind: str) -> bool:
    """Return whether pattern names the kind: `Secret`, `apps/Deployment`, `core/*`, `*.cert-manager.io/*`."""
    wanted_group, slash, wanted_kind = pattern.rpartition("/")
    if slash and not fnmatchcase(group or CORE, wanted_group):
        return False
    return fnmatchcase(kind, wanted_kind)


def matches_any(patterns: Iterable[str], group: str, kind: str) -> bool:
    """Return whether one of patterns names the kind."""
    return any(matches(pattern, group, kind) for pattern in patterns)


def named_groups(patterns: Iterable[str]) -> set[str]:
    """Return the groups that patterns name in full, as `traefik.io/*` does."""
    groups = {pattern.rpartition("/")[0] for pattern in patterns}
    return {group for group in groups if group and not _WILD.search(group)}


def custom_groups(patterns: Iterable[str]) -> set[str]:
    """Return the groups of custom resources that patterns name in full: of those a capture wants to read all."""
    return {group for group in named_groups(patterns) if "." in group} - {*NAMESPACED, *CLUSTER}


def fault_of(pattern: str) -> tuple[str, str] | None:
    """Return why pattern can name no kind, and a suggestion; None for one that may."""
    if re.fullmatch(PATTERN, pattern) is None:
        return (
            "is no kind of Kubernetes objects",
            "write KIND or GROUP/KIND, with * for any text: Secret, apps/*",
        )
    group, _, kind = pattern.rpartition("/")
    return _fault_of_group(group) or _fault_of_kind(kind)


def _fault_of_group(group: str) -> tuple[str, str] | None:
    """Return what is wrong with a group. Those of custom resources have a dot, and are not known here."""
    if not group or group in _GROUPS or "." in group or _WILD.search(group):
        return None
    near = get_close_matches(group, _GROUPS, 1)
    told = f"did you mean {near[0]}?" if near else f"a group is written as in apiVersion: apps, or {CORE}"
    return f"is of no API group: {group}", told


def _fault_of_kind(kind: str) -> tuple[str, str] | None:
    if kind in _KINDS or _WILD.search(kind):
        return None
    near = _WORDS.get(kind.lower()) or next(iter(get_close_matches(kind, _KINDS, 1, _NEAR)), None)
    if near is not None:
        return f"is no kind: {kind}", f"did you mean {near}?"
    if not kind[0].isupper():
        return f"is no kind: {kind}", "write it as in manifests: Deployment, and not deployments"
    return None
