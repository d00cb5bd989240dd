"""What the objects of a namespace need of the cluster around it: volumes, classes, roles, definitions. Pure."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from drtool.policy.kinds import CLUSTER, NAMESPACED, group_of
from drtool.sources.kubernetes.resource import Json, Resource

_RBAC: Final = "rbac.authorization.k8s.io"
_DEFAULT_ROLES: Final = frozenset({"cluster-admin", "admin", "edit", "view"})  # every cluster has them
_BUILT_IN: Final = {*NAMESPACED, *CLUSTER}


class Need(NamedTuple):
    """An object of the cluster that something refers to."""

    group: str
    kind: str
    name: str


def needs_of(item: Json) -> Iterator[Need]:
    """Yield what an object refers to by name beyond its namespace; the same more than once, perhaps."""
    spec: dict[str, Any] = item.get("spec") or {}
    match group_of(item["apiVersion"]), item["kind"]:
        case "", "PersistentVolumeClaim":
            yield from _named("", "PersistentVolume", spec.get("volumeName"))
            yield from _storage_class(spec)
        case "", "PersistentVolume":
            yield from _storage_class(spec)
        case "networking.k8s.io", "Ingress":
            yield from _named("networking.k8s.io", "IngressClass", spec.get("ingressClassName"))
        case "rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding":
            yield from _role(item["roleRef"])
        case "" | "apps" | "batch", _:
            yield from _priority(_pod_spec(item["kind"], spec))
            for template in spec.get("volumeClaimTemplates") or []:
                yield from _storage_class(template["spec"])


def definition_of(resource: Resource) -> Need | None:
    """Return the definition that a kind comes from, if it is none of those that every cluster has."""
    if resource.group in _BUILT_IN:
        return None
    return Need("apiextensions.k8s.io", "CustomResourceDefinition", resource.name)


def binds(binding: Json, namespace: str) -> bool:
    """Return whether a ClusterRoleBinding gives rights to service accounts of namespace."""
    whole = f"system:serviceaccounts:{namespace}"
    return any(
        (each["kind"] == "ServiceAccount" and each.get("namespace") == namespace)
        or (each["kind"] == "Group" and each["name"] == whole)
        for each in binding.get("subjects") or []
    )


def calls(configuration: Json, namespace: str) -> bool:
    """Return whether a webhook configuration has the API server ask a Service of namespace."""
    clients = (each.get("clientConfig") or {} for each in configuration.get("webhooks") or [])
    return any((each.get("service") or {}).get("namespace") == namespace for each in clients)


def _pod_spec(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of the pods that one of Kubernetes' own objects stands for; empty where it stands for none."""
    if kind == "Pod":
        return spec
    holder: dict[str, Any] = spec["jobTemplate"]["spec"] if kind == "CronJob" else spec
    found: dict[str, Any] = (holder.get("template") or {}).get("spec") or {}
    return found


def _storage_class(spec: dict[str, Any]) -> Iterator[Need]:
    yield from _named("storage.k8s.io", "StorageClass", spec.get("storageClassName"))


def _priority(pod: dict[str, Any]) -> Iterator[Need]:
    name = pod.get("priorityClassName")
    if not str(name or "").startswith("system-"):
        yield from _named("scheduling.k8s.io", "PriorityClass", name)


def _role(reference: Json) -> Iterator[Need]:
    name = reference["name"]
    if reference["kind"] == "ClusterRole" and name not in _DEFAULT_ROLES and not name.startswith("system:"):
        yield Need(_RBAC, "ClusterRole", name)


def _named(group: str, kind: str, name: Any) -> Iterator[Need]:
    if isinstance(name, str) and name:
        yield Need(group, kind, name)
