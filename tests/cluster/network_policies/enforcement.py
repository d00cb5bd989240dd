"""The enforcement of a cluster's NetworkPolicies, as one of the cluster's processes."""

import sys
from collections.abc import Iterable
from pathlib import Path

from tests.cluster.control_plane import ControlPlane
from tests.cluster.node import Node
from tests.cluster.process import Process

ROOT = Path(__file__).parents[3]


def network_policies(control_plane: ControlPlane, nodes: Iterable[Node], lab: Path) -> Process:
    """Return what enforces NetworkPolicies on nodes, to be started when the API server is there.

    Killed, it leaves the rules as they are: what was not allowed does not become it.
    """
    addresses = control_plane.addresses
    return Process(
        f"{addresses.name}-network-policies",
        [
            sys.executable,
            "-m",
            "tests.cluster.network_policies.controller",
            f"--lab={lab}",
            f"--kubeconfig={control_plane.user('network-policies')}",
            f"--dns={addresses.control_plane}",
            *(f"{node.name}={node.holder.name}" for node in nodes),
        ],
        lab,
        env={"PYTHONPATH": str(ROOT)},
    )
