"""Faults of volumes: one that holds little, one that is full.

with small_volume(cluster, node, namespace, "data"):
    ... pods that mount the claim `data` write to it ...
    with full_volume(cluster, namespace, "data"):
        ... and fail with ENOSPC ...
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.cluster import Cluster
from tests.cluster.node import Node
from tests.cluster.process import LabFailed

SMALL_MB = 50
LARGEST_TO_FILL = 2**30  # bytes; what is small is in memory


@contextmanager
def small_volume(
    cluster: Cluster, node: Node, namespace: str, claim: str, *, megabytes: int = SMALL_MB
) -> Iterator[None]:
    """Make a claim, bound to a volume on node that holds no more than megabytes; gone at the end, with its contents.

    Made before a system, under the name that one of its own claims would have, it takes that claim's place.
    """
    name = f"{namespace}-{claim}"
    directory = f"/srv/{name}"
    node.run("mkdir", "-p", directory)
    node.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "small", directory)
    try:
        cluster.kubectl(
            "apply", "-f", "-", stdin=json.dumps(_claim(name, namespace, claim, node.name, megabytes))
        )
        yield
    finally:
        cluster.kubectl("delete", "pvc", claim, "-n", namespace, "--wait=false", "--ignore-not-found")
        cluster.kubectl("delete", "pv", name, "--wait=false", "--ignore-not-found")
        node.run("umount", "--lazy", directory)


@contextmanager
def full_volume(cluster: Cluster, namespace: str, claim: str) -> Iterator[None]:
    """Fill the volume of a claim, so that no byte more can be written: ENOSPC.

    Raises LabFailed for a volume that is no small file system of its own: what fills is the machine's disk then.
    """
    node, directory = _place(cluster, namespace, claim)
    total, _ = _room(node, directory)
    if total > LARGEST_TO_FILL:
        raise LabFailed(
            f"the volume of claim {claim} is on a file system of {total} bytes, too large to be filled",
            hint="Make the claim with small_volume.",
        )
    filler = f"{directory}/.filler"
    try:
        node.run("sh", "-c", 'cat /dev/zero >"$1" 2>/dev/null || true', "fill", filler)
        _, free = _room(node, directory)
        if free:
            raise LabFailed(f"{free} bytes of the volume of claim {claim} are still free")
        yield
    finally:
        node.run("rm", "-f", filler)


def _claim(name: str, namespace: str, claim: str, node: str, megabytes: int) -> dict[str, object]:
    """Return a volume on node, and a claim that is bound to it and to no other."""
    size = {"storage": f"{megabytes}Mi"}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **common,
            "capacity": size,
            "claimRef": {"namespace": namespace, "name": claim},
            "hostPath": {"path": f"/srv/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
        },
    }
    bound = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim, "namespace": namespace},
        "spec": {**common, "volumeName": name, "resources": {"requests": size}},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [volume, bound]}


def _place(cluster: Cluster, namespace: str, claim: str) -> tuple[Node, str]:
    """Return the node and the directory, there, of a claim's volume: one of hostPath or local, for one node."""
    name = cluster.kubectl("get", "pvc", claim, "-n", namespace, "-o", "jsonpath={.spec.volumeName}")
    spec = json.loads(cluster.kubectl("get", "pv", name, "-o", "json"))["spec"]
    terms = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    node = next(node for node in cluster.nodes if node.name == terms[0]["matchExpressions"][0]["values"][0])
    return node, (spec.get("local") or spec["hostPath"])["path"]


def _room(node: Node, directory: str) -> tuple[int, int]:
    """Return how many bytes the file system of a directory has in all, and how many are free."""
    size, total, free = node.run("stat", "--file-system", "--format=%S %b %a", directory).split()
    return int(size) * int(total), int(size) * int(free)
