"""Services on their way into another cluster: which of their addresses and ports are theirs, and which were given."""

import json
from collections.abc import Iterator
from typing import Any, Final

from drtool.recovery.manifests.choose import Around
from drtool.recovery.manifests.objects import Json, annotations_of, part, spec_of
from drtool.recovery.manifests.outward import held_back

_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def strip_service(item: Json, _around: Around) -> list[str]:
    """Take off what the old cluster gave a Service. A node port stays where somebody chose it by hand."""
    spec = spec_of(item)
    if spec.get("clusterIP") != "None":
        spec.pop("clusterIP", None)
        spec.pop("clusterIPs", None)
    spec.pop("ipFamilies", None)
    if spec.get("ipFamilyPolicy") == "SingleStack":  # what the target takes for itself, in its own family
        del spec["ipFamilyPolicy"]
    chosen = set(_chosen_ports(item))
    for port in spec.get("ports") or []:
        if port.get("nodePort") not in chosen:
            port.pop("nodePort", None)
    if spec.get("healthCheckNodePort") not in chosen:
        spec.pop("healthCheckNodePort", None)
    return [*_for_review(spec)]


def _for_review(spec: Json) -> Iterator[str]:
    address = spec.pop("loadBalancerIP", None)
    if address:
        yield f"the address {address} of its load balancer is not asked for"
    for key in ("externalIPs", "externalName", "loadBalancerClass"):
        if spec.get(key):
            yield f"it keeps {key}: see that it is right here"


def drop_taken_ports(item: Json, taken: dict[int, str]) -> list[str]:
    """Take node ports off that another Service of the target has; return what to say of it."""
    spec = spec_of(item)
    ports = [(port, "nodePort") for port in spec.get("ports") or []] + [(spec, "healthCheckNodePort")]
    return [
        f"node port {holder.pop(key)} belongs to Service {taken[number]} here: it gets another"
        for holder, key in ports
        if (number := holder.get(key)) in taken
    ]


def _applied(item: Json) -> Any:
    """Return what somebody applied; nothing where the annotation is not kubectl's."""
    try:
        return json.loads(annotations_of(item).get(_APPLIED, "{}"))
    except ValueError:
        return {}


def _chosen_ports(item: Json) -> Iterator[int]:
    """Yield the node ports that somebody wrote: a server notes who set a field, but not what it chose itself.

    What was held back of a Service that waits was chosen: all else had been taken off before. No server notes that.
    """
    spec = spec_of(item)
    for said in (held_back(item), part(_applied(item), "spec")):
        yield from (port["nodePort"] for port in said.get("ports") or [] if port.get("nodePort"))
        if said.get("healthCheckNodePort"):
            yield said["healthCheckNodePort"]
    for entry in item["metadata"].get("managedFields") or []:
        fields = part(entry, "fieldsV1", "f:spec")
        if "f:healthCheckNodePort" in fields and spec.get("healthCheckNodePort"):
            yield spec["healthCheckNodePort"]
        named = [
            json.loads(key[2:])
            for key, value in part(fields, "f:ports").items()
            if key.startswith("k:") and "f:nodePort" in value
        ]
        for port in spec.get("ports") or []:
            if port.get("nodePort") and any(each.items() <= port.items() for each in named):
                yield port["nodePort"]
