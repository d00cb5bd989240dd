"""What NetworkPolicies mean: for each pod that they isolate, who may reach it and whom it may reach. No I/O.

rules = isolations(policies, pods, namespaces)     # policies and namespaces as the API's JSON

A pod that no policy selects in a direction is open in it, and does not appear. One that is selected is closed, but for
what some policy allows: policies only ever add. https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, ip_network
from typing import Literal

from tests.cluster.network_policies.selectors import Json, Labels, matches

Direction = Literal["Ingress", "Egress"]
DIRECTIONS: tuple[Direction, ...] = ("Ingress", "Egress")
ENDED = ("Succeeded", "Failed")
EVERYWHERE = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with an address of its own. ports: the numbers of its named ports, by name and protocol."""

    namespace: str
    labels: Labels
    node: str
    address: IPv4Address
    ports: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, pod: Json) -> "Pod | None":
        """Return the pod of an object of the API; None if it has no address (any more), or that of its node."""
        status, spec = pod["status"], pod["spec"]
        if "podIP" not in status or status.get("phase") in ENDED or spec.get("hostNetwork"):
            return None
        containers = spec["containers"] + spec.get("initContainers", [])  # of the latter, sidecars have ports
        return cls(
            namespace=pod["metadata"]["namespace"],
            labels=pod["metadata"].get("labels") or {},
            node=spec["nodeName"],
            address=IPv4Address(status["podIP"]),
            ports={
                (port["name"], port.get("protocol", "TCP")): port["containerPort"]
                for container in containers
                for port in container.get("ports", [])
                if "name" in port
            },
        )


@dataclass(frozen=True, slots=True)
class Allow:
    """What passes: from or to these networks, without overlap; by protocol or any; at ports first to last or all."""

    networks: tuple[IPv4Network, ...]
    protocol: str | None = None
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Isolation:
    """A pod that is closed in one direction, but for what is allowed."""

    address: IPv4Address
    node: str
    direction: Direction
    allowed: tuple[Allow, ...]


@dataclass(frozen=True, slots=True)
class _Peers:
    """The other side of a rule: blocks of addresses, and pods, of which the names of ports are known."""

    blocks: tuple[IPv4Network, ...]
    pods: tuple[Pod, ...]

    @property
    def networks(self) -> tuple[IPv4Network, ...]:
        return tuple(collapse_addresses([*self.blocks, *(IPv4Network(pod.address) for pod in self.pods)]))


def isolations(
    policies: Iterable[Json], pods: Sequence[Pod], namespaces: Mapping[str, Labels]
) -> list[Isolation]:
    """Return what policies close, and what they leave open. namespaces: the labels of each."""
    by_namespace = defaultdict(list)
    for policy in policies:
        by_namespace[policy["metadata"]["namespace"]].append(policy["spec"])
    found = []
    for pod in pods:
        specs = [
            spec for spec in by_namespace[pod.namespace] if matches(spec.get("podSelector") or {}, pod.labels)
        ]
        for direction in DIRECTIONS:
            applying = [spec for spec in specs if direction in spec["policyTypes"]]
            if applying:
                allowed = tuple(
                    allow
                    for spec in applying
                    for rule in spec.get(direction.lower()) or []
                    for allow in _allowed(rule, direction, pod, pods, namespaces)
                )
                found.append(Isolation(pod.address, pod.node, direction, allowed))
    return found


def _allowed(
    rule: Json, direction: Direction, pod: Pod, pods: Sequence[Pod], namespaces: Mapping[str, Labels]
) -> Iterator[Allow]:
    """Give what one rule of a policy in pod's namespace allows pod."""
    peers = _peers(
        rule.get("from" if direction == "Ingress" else "to") or [], pod.namespace, pods, namespaces
    )
    ports = rule.get("ports") or []
    if not ports and peers.networks:
        yield Allow(peers.networks)
    for port in ports:
        yield from _at_port(port, direction, pod, peers)


def _peers(
    peers: Sequence[Json], namespace: str, pods: Sequence[Pod], namespaces: Mapping[str, Labels]
) -> _Peers:
    """Return who is meant by peers of a policy in namespace; no peers mean everybody."""
    if not peers:
        return _Peers((EVERYWHERE,), tuple(pods))
    blocks = [network for peer in peers if "ipBlock" in peer for network in _block(peer["ipBlock"])]
    selectors = [peer for peer in peers if "ipBlock" not in peer]
    chosen = [pod for pod in pods if any(_is_meant(peer, pod, namespace, namespaces) for peer in selectors)]
    return _Peers(tuple(blocks), tuple(chosen))


def _is_meant(peer: Json, pod: Pod, namespace: str, namespaces: Mapping[str, Labels]) -> bool:
    if not matches(peer.get("podSelector") or {}, pod.labels):
        return False
    if peer.get("namespaceSelector") is None:
        return pod.namespace == namespace
    return matches(peer["namespaceSelector"], namespaces.get(pod.namespace, {}))


def _block(block: Json) -> Iterator[IPv4Network]:
    """Give the networks that are left of an ipBlock without its exceptions; nothing of IPv6, which the lab has not."""
    whole = ip_network(block["cidr"], strict=False)
    if not isinstance(whole, IPv4Network):
        return
    left = [whole]
    for text in block.get("except") or []:
        hole = IPv4Network(text, strict=False)
        left = [part for network in left for part in _without(network, hole)]
    yield from left


def _without(network: IPv4Network, hole: IPv4Network) -> Iterator[IPv4Network]:
    if network.subnet_of(hole):
        return
    if hole.subnet_of(network):
        yield from network.address_exclude(hole)
    else:
        yield network


def _at_port(port: Json, direction: Direction, pod: Pod, peers: _Peers) -> Iterator[Allow]:
    """Give what one entry of `ports` allows. A name is looked up where the connection arrives."""
    protocol, number = port.get("protocol", "TCP"), port.get("port")
    if not isinstance(number, str):
        if peers.networks:
            yield Allow(peers.networks, protocol, number, port.get("endPort", number))
        return
    if direction == "Ingress":
        named = pod.ports.get((number, protocol))
        if named is not None and peers.networks:
            yield Allow(peers.networks, protocol, named, named)
        return
    by_number = defaultdict(list)
    for peer in peers.pods:
        if (number, protocol) in peer.ports:
            by_number[peer.ports[number, protocol]].append(IPv4Network(peer.address))
    for named, addresses in sorted(by_number.items()):
        yield Allow(tuple(collapse_addresses(addresses)), protocol, named, named)
