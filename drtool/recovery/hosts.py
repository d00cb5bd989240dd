"""The workload behind the host of a server, and which of its pods and containers has the data. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from drtool.policy.volumes import PostgresVolume, RedisVolume, Volume
from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import Json, kind_of, part, pod_template_of, spec_of
from drtool.recovery.pod_settings import host_of
from drtool.recovery.refusal import Refusal

_POD: Final = "statefulset.kubernetes.io/pod-name"
_NAMES: Final = {"postgres": ("postgres",), "redis": ("redis", "valkey")}


@dataclass(frozen=True, slots=True)
class Host:
    """A pod that serves a volume, the workload that makes it, and the container that has the data."""

    workload: Json
    pod: str
    ordinal: int
    container: Json


def no_place(volume: Volume, message: str, hint: str) -> Refusal:
    """Return why the place of a volume's data cannot be told."""
    return Refusal(f"volume {volume.name}", message, hint)


def find_host(volume: PostgresVolume | RedisVolume, objects: Sequence[Json]) -> Host | Refusal:
    """Return the pod that a volume's host, or its Sentinels, lead to."""
    if isinstance(volume, RedisVolume) and volume.sentinel is not None:
        return _watched(volume, objects)
    host = host_of(volume.host, objects)
    if host is None:
        hint = "Name the host in the policy, or in a Secret that is captured."
        return no_place(volume, "names its host where no capture looks", hint)
    name, _, rest = host.partition(".")
    pod = _pod_named(name, objects) if rest else None
    if pod is not None:
        return _host(volume, *pod)
    services = [
        each for each in objects if kind_of(each) == ("", "Service") and each["metadata"]["name"] == name
    ]
    selector = spec_of(services[0]).get("selector") or {} if services else {}
    if not selector:
        hint = "Name the Service of the server itself as its host, or restore it with --to-dir."
        return no_place(volume, f"is reached as {host}, which leads to no workload of the namespace", hint)
    return _behind(volume, host, dict(selector), objects)


def _behind(
    volume: PostgresVolume | RedisVolume, host: str, selector: dict[str, str], objects: Sequence[Json]
) -> Host | Refusal:
    """Return the host behind a Service, by the labels of the pods that it selects."""
    named = selector.pop(_POD, None)
    if named is not None:
        pod = _pod_named(named, objects)
        if pod is not None:
            return _host(volume, *pod)
    found = (
        [each for each in workloads_of(objects) if selector.items() <= _labels(each).items()]
        if selector
        else []
    )
    if len(found) != 1:
        names = ", ".join(str(each["metadata"]["name"]) for each in found) or "no workload"
        hint = "Name a Service of the server alone, or its pod as POD.SERVICE."
        return no_place(volume, f"is reached as {host}, and behind that lie {names}", hint)
    return _host(volume, found[0], _first(found[0]))


def _watched(volume: RedisVolume, objects: Sequence[Json]) -> Host | Refusal:
    """Return the first pod of the one workload that serves the port of the data: any may be the next master."""
    found = [each for each in workloads_of(objects) if _serves(each, volume.port, objects)]
    if len(found) > 1:
        found = [each for each in found if claims_of(each)]
    if len(found) != 1:
        names = ", ".join(str(each["metadata"]["name"]) for each in found) or "none"
        hint = "Give the pods' template a containerPort, or name the master's Service as host."
        return no_place(
            volume,
            f"is found by Sentinels, and of the workloads at port {volume.port} is {names} meant",
            hint,
        )
    return _host(volume, found[0], _first(found[0]))


def _host(volume: PostgresVolume | RedisVolume, workload: Json, ordinal: int) -> Host | Refusal:
    name = str(workload["metadata"]["name"])
    container = _container(volume, workload)
    if container is None:
        hint = f"Give the one that serves port {volume.port} that containerPort."
        return no_place(volume, f"runs in {name}, and which of its containers has the data is not told", hint)
    pod = f"{name}-{ordinal}" if _is_set(workload) else name
    return Host(workload, pod, ordinal, container)


def _container(volume: PostgresVolume | RedisVolume, workload: Json) -> Json | None:
    """Return the container with the port, the only one, or the only one whose image says so."""
    containers: list[Json] = part(pod_template_of(workload), "spec").get("containers") or []
    names = _NAMES[volume.source]
    with_port = [each for each in containers if volume.port in _ports(each)]
    by_image = [each for each in containers if any(name in str(each.get("image")) for name in names)]
    return next((found[0] for found in (with_port, containers, by_image) if len(found) == 1), None)


def _pod_named(name: str, objects: Sequence[Json]) -> tuple[Json, int] | None:
    """Return the StatefulSet that makes a pod of that name, and the pod's ordinal."""
    owner, _, number = name.rpartition("-")
    if not number.isdecimal():
        return None
    sets = [each for each in workloads_of(objects) if _is_set(each) and each["metadata"]["name"] == owner]
    return (sets[0], int(number)) if sets else None


def workloads_of(objects: Sequence[Json]) -> Iterator[Json]:
    """Yield the workloads that no other one makes."""
    yield from (
        each for each in objects if is_workload(*kind_of(each)) and "ownerReferences" not in each["metadata"]
    )


def _is_set(workload: Json) -> bool:
    return kind_of(workload) == ("apps", "StatefulSet")


def _first(workload: Json) -> int:
    return int(part(workload, "spec", "ordinals").get("start", 0))


def _labels(workload: Json) -> Json:
    return part(pod_template_of(workload), "metadata", "labels")


def _ports(container: Json) -> list[int]:
    return [each.get("containerPort") for each in container.get("ports") or []]


def _serves(workload: Json, port: int, objects: Sequence[Json]) -> bool:
    containers: list[Json] = part(pod_template_of(workload), "spec").get("containers") or []
    if any(each.get("ports") for each in containers):
        return any(port in _ports(each) for each in containers)
    selectors = [
        spec_of(each).get("selector") or {}
        for each in objects
        if kind_of(each) == ("", "Service")
        and any(one.get("port") == port for one in spec_of(each).get("ports") or [])
    ]
    return any(each and each.items() <= _labels(workload).items() for each in selectors)


def claims_of(workload: Json) -> list[str]:
    """Return the claims that the pods of a workload use; those of a template by the template's name."""
    pod = part(pod_template_of(workload), "spec")
    named = [part(each, "persistentVolumeClaim").get("claimName", "") for each in pod.get("volumes") or []]
    templates = spec_of(workload).get("volumeClaimTemplates") or []
    return [*filter(None, named), *(str(each["metadata"]["name"]) for each in templates)]
