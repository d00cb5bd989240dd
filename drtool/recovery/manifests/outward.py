"""Services that lead in from outside: as they wait until all of an application has started and was probed.

Tiers and probes find each other by Services, so these have their cluster IP and their pods from the beginning, and only
what outsiders come by is held back: node ports, load balancers, external IPs. One that was captured while it waited
keeps what it was in an annotation.
"""

import json
from copy import deepcopy
from typing import Final

from drtool.recovery.manifests.objects import Json, annotations_of, kind_of, spec_of

OUTWARD: Final = "drtool.io/outward"
_SERVICE: Final = ("", "Service")
_TYPES: Final = frozenset({"NodePort", "LoadBalancer"})
_OUTSIDE: Final = (  # what a Service may not have, or lets in by, while it is of type ClusterIP
    "type",
    "ports",  # with node ports
    "externalIPs",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
)


def leads_in(item: Json) -> bool:
    """Return whether an object is a Service that can be reached from outside of the cluster."""
    spec = spec_of(item)
    return kind_of(item) == _SERVICE and (spec.get("type") in _TYPES or bool(spec.get("externalIPs")))


def hold_inside(item: Json) -> Json:
    """Return a Service as it waits: whoever is in the cluster reaches it as ever, and nobody else does."""
    held = deepcopy(item)
    spec = held["spec"]
    taken = {key: spec.pop(key) for key in _OUTSIDE if key in spec}
    spec["type"] = "ClusterIP"
    spec["ports"] = [
        {key: value for key, value in port.items() if key != "nodePort"} for port in taken.get("ports") or []
    ]
    held["metadata"].setdefault("annotations", {})[OUTWARD] = json.dumps(taken, sort_keys=True)
    return held


def let_in(item: Json) -> None:
    """Give a Service back what an annotation says that it was, if it was captured while it waited."""
    said = held_back(item)
    if said:
        item["spec"] = {**spec_of(item), **said}


def held_back(item: Json) -> Json:
    """Return what an annotation says that was held back of a Service; nothing where that is not ours."""
    if kind_of(item) != _SERVICE or OUTWARD not in annotations_of(item):
        return {}
    try:
        said = json.loads(annotations_of(item)[OUTWARD])
    except ValueError:  # somebody else wrote that
        return {}
    return said if isinstance(said, dict) and said.keys() <= {*_OUTSIDE} else {}
