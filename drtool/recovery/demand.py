"""What workloads and claims ask of a namespace's quota, as a ResourceQuota counts it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from drtool.recovery.manifests.objects import Json, kind_of, part, pod_template_of, spec_of
from drtool.recovery.manifests.quantity import quantity

Demand = dict[str, Decimal]
_REPLICATED: Final = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
    }
)


def shortages(quota: Json, items: Iterable[Json]) -> Iterator[str]:
    """Yield what of quota, an object of the target, items do not fit into: as in "requests.cpu: 3 needed, 1 free"."""
    spec = spec_of(quota)
    if spec.get("scopes") or spec.get("scopeSelector"):  # it counts some pods only
        return
    needed = _demand(items)
    used = part(quota, "status", "used")
    for key, limit in sorted(part(spec, "hard").items()):
        free = quantity(limit) - quantity(used.get(key, 0))
        if needed.get(key, Decimal(0)) > max(free, Decimal(0)):
            yield f"{key}: {_plain(needed[key])} needed, {_plain(free)} free"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _demand(items: Iterable[Json]) -> Demand:
    """Return what all items need at once, by the names that quotas have."""
    total: Demand = defaultdict(Decimal)
    for item in items:
        count = _pods(item)
        for key, number in _of_pod(item).items() if count else ():
            total[key] += number * count
        for key, number in _of_claim(item).items():
            total[key] += number
    return total


def _pods(item: Json) -> int:
    if kind_of(item) in _REPLICATED:
        return int(spec_of(item).get("replicas", 1))
    return int(kind_of(item) == ("", "Pod"))


def _of_pod(item: Json) -> Demand:
    pod = part(pod_template_of(item), "spec")
    found: Demand = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for kind in ("requests", "limits"):
        for name in ("cpu", "memory", "ephemeral-storage"):
            asked = [_asked(pod.get(group), kind, name) for group in ("containers", "initContainers")]
            found[f"{kind}.{name}"] = max(sum(asked[0], Decimal(0)), *asked[1], Decimal(0))
    for name in ("cpu", "memory"):
        found[name] = found[f"requests.{name}"]
    return found


def _asked(containers: list[Json] | None, kind: str, name: str) -> list[Decimal]:
    """Return what each container asks for. One with a limit alone requests that much."""
    kinds = (kind, "limits")
    return [
        next(
            (
                quantity(part(each, "resources", one)[name])
                for one in kinds
                if name in part(each, "resources", one)
            ),
            Decimal(0),
        )
        for each in containers or []
    ]


def _of_claim(item: Json) -> Demand:
    if kind_of(item) != ("", "PersistentVolumeClaim"):
        return {}
    spec = spec_of(item)
    size = quantity(part(spec, "resources", "requests").get("storage", 0))
    found = {"persistentvolumeclaims": Decimal(1), "requests.storage": size}
    for key in list(found):
        found[f"{spec.get('storageClassName', '')}.storageclass.storage.k8s.io/{key}"] = found[key]
    return found
