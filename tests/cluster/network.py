"""The network of the lab: one bridge in the machine room, and a cable from it to each node.

The machine room has a way to the pods of each node and, through a cluster's first node, to its services: tests reach
both directly.
"""

from pathlib import Path

from tests.cluster.addresses import MACHINE_ROOM, PREFIX_LENGTH, ClusterAddresses, NodeAddress
from tests.cluster.process import Process, enter, run

BRIDGE = "lab0"


def make_machine_room() -> None:
    """Make the bridge that everything is joined to, in the network namespace that we are in."""
    _ip("link set lo up")
    _ip(f"link add {BRIDGE} type bridge")
    _ip(f"address add {MACHINE_ROOM}/{PREFIX_LENGTH} dev {BRIDGE}")
    _ip(f"link set {BRIDGE} up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def add_control_plane(addresses: ClusterAddresses) -> None:
    """Give the machine room the address of a cluster's control plane; safe to repeat."""
    _ip(f"address replace {addresses.control_plane}/{PREFIX_LENGTH} dev {BRIDGE}")


def remove_control_plane(addresses: ClusterAddresses) -> None:
    """Take the address away again."""
    _ip(f"address del {addresses.control_plane}/{PREFIX_LENGTH} dev {BRIDGE}")


def connect(node: NodeAddress, holder: Process, addresses: ClusterAddresses) -> None:
    """Lay a cable from the bridge to the node whose namespaces holder holds, and routes to its pods.

    The end at the bridge has the node's name: `ip link set a1 down` pulls the plug. The cable goes when the node does.
    """
    _ip(f"link add {node.name} type veth peer name eth0 address {node.hardware} netns {holder.pid}")
    _ip(f"link set {node.name} master {BRIDGE} up")
    inside = (
        f"address add {node.address}/{PREFIX_LENGTH} dev eth0",
        "link set eth0 up",
        f"route add default via {MACHINE_ROOM}",
        *(
            f"route add {other.pods} via {other.address}"
            for other in addresses.nodes
            if other.name != node.name
        ),
    )
    run(*enter(holder), "ip", "-batch", "-", given="\n".join(inside))
    _ip(f"route replace {node.pods} via {node.address}")
    if node == addresses.nodes[0]:
        _ip(f"route replace {addresses.services} via {node.address}")


def _ip(command: str) -> None:
    run("ip", *command.split())
