"""Objects as plain JSON: what they are called, and where the pods are described that they stand for."""

from typing import Any, Final, NamedTuple

from drtool.policy.kinds import group_of

Json = dict[str, Any]

RBAC: Final = "rbac.authorization.k8s.io"
NETWORK: Final = "networking.k8s.io"
STORAGE: Final = "storage.k8s.io"


class Ref(NamedTuple):
    """Which object: unique among those of one namespace and of the cluster around it."""

    group: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def kind_of(item: Json) -> tuple[str, str]:
    """Return group and kind of an object."""
    return group_of(item["apiVersion"]), item["kind"]


def ref_of(item: Json) -> Ref:
    """Return which object this is."""
    return Ref(*kind_of(item), item["metadata"]["name"])


def spec_of(item: Json) -> Json:
    """Return the spec of an object; empty where it has none that is a mapping."""
    spec = item.get("spec")
    return spec if isinstance(spec, dict) else {}


def part(value: Json, *keys: str) -> Json:
    """Return the mapping that lies below keys, empty where there is none. What is returned empty is not in value."""
    found: Any = value
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def annotations_of(item: Json) -> Json:
    """Return the annotations of an object, empty where it has none."""
    return part(item, "metadata", "annotations")


def pod_template_of(item: Json) -> Json:
    """Return what describes the pods of a workload, a Pod itself; empty for what has none."""
    match kind_of(item):
        case "", "Pod":
            return item
        case "batch", "CronJob":
            return part(item, "spec", "jobTemplate", "spec", "template")
        case "" | "apps" | "batch" | "extensions", _:
            return part(item, "spec", "template")
    return {}


def containers_of(item: Json) -> list[Json]:
    """Return all containers of the pods of a workload."""
    pod = part(pod_template_of(item), "spec")
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]
