"""Isolations as rules of nftables, for one node. No I/O.

The rules stand in the hook `forward`. There a Service's address is already that of a pod, for kube-proxy translates
before routing; and what the node itself sends to its pods, such as kubelet's probes, does not come by. Packets between
two pods of a node cross its bridge, and come by because of bridge-nf-call-iptables. Each pod is judged on its own node
alone, for both directions.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network

from tests.cluster.network_policies.rules import EVERYWHERE, Allow, Direction, Isolation

TABLE = "ip network-policies"
OTHER_SIDE: dict[Direction, str] = {"Ingress": "saddr", "Egress": "daddr"}
OWN_SIDE: dict[Direction, str] = {"Ingress": "daddr", "Egress": "saddr"}

_HEAD = """\
    type filter hook forward priority filter; policy accept;
    ct state established,related accept"""


def ruleset(isolations: Iterable[Isolation]) -> str:
    """Return what `nft -f` takes to put all that was in force in one step by isolations: of one node's pods."""
    ordered = sorted(isolations, key=lambda each: (each.direction, each.address))
    chains = [f"  chain forward {{\n{_forward(ordered)}\n  }}", *map(_chain, ordered)]
    return f"table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n" + "\n".join(chains) + "\n}\n"


def _forward(isolations: Iterable[Isolation]) -> str:
    """Return the rules that send a packet to the chains of its sender and of its receiver, if these are isolated."""
    lines = [_HEAD]
    for direction, side in OWN_SIDE.items():
        jumps = [f"{each.address} : jump {_name(each)}" for each in isolations if each.direction == direction]
        if jumps:
            lines.append(f"    ip {side} vmap {{ {', '.join(jumps)} }}")
    return "\n".join(lines)


def _chain(isolation: Isolation) -> str:
    """Return a pod's chain for one direction. `return` is "not forbidden here": the other pod's chain comes next."""
    other = OTHER_SIDE[isolation.direction]
    itself = Allow((IPv4Network(isolation.address),))  # a pod may reach itself, also by its Service
    lines = [_rule(allow, other) for allow in (itself, *dict.fromkeys(isolation.allowed))]
    return f"  chain {_name(isolation)} {{\n" + "\n".join([*lines, "    drop"]) + "\n  }"


def _rule(allow: Allow, side: str) -> str:
    words = []
    if allow.networks != (EVERYWHERE,):
        words.append(f"ip {side} {{ {', '.join(map(_network, allow.networks))} }}")
    if allow.protocol is not None:
        protocol = allow.protocol.lower()
        if allow.first is None:
            words.append(f"meta l4proto {protocol}")
        else:
            last = "" if allow.first == allow.last else f"-{allow.last}"
            words.append(f"{protocol} dport {allow.first}{last}")
    return f"    {' '.join([*words, 'return'])}"


def _network(network: IPv4Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _name(isolation: Isolation) -> str:
    return f"{isolation.direction.lower()}-{isolation.address}"
