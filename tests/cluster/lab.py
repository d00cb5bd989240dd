"""The lab: a machine room with MinIO in it, and up to two clusters; everything in namespaces of its own.

Whoever is inside finds it by the environment variable DRTOOL_LAB, its folder, and can start and kill its parts:

    lab = Lab.here()
    lab.start_cluster("b").nodes[0].kill()
"""

import json
import os
import shutil
from pathlib import Path

from drtool.errors import UsageError
from tests.cluster import network
from tests.cluster.addresses import CLUSTERS
from tests.cluster.cluster import LabCluster
from tests.cluster.minio import Minio
from tests.cluster.process import run

VARIABLE = "DRTOOL_LAB"


class Lab:
    """The lab whose folder is directory. We are inside of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.minio = Minio(directory)
        self._known: dict[str, LabCluster] = {}

    @classmethod
    def here(cls) -> "Lab":
        """Return the lab that we are in. Raises UsageError if we are in none."""
        directory = os.environ.get(VARIABLE)
        if not directory:
            raise UsageError(
                f"this is not inside a lab: {VARIABLE} is not set",
                hint="Use `make test-cluster`, or `make cluster` and the nsenter line that it prints.",
            )
        return cls(Path(directory))

    @property
    def clusters(self) -> dict[str, LabCluster]:
        """The clusters that were started, by name."""
        return {name: self._cluster(name) for name in CLUSTERS if self._is_started(name)}

    def start(self) -> None:
        """Make the machine room, and start MinIO."""
        run("mount", "--make-rshared", "/")
        # Sockets and locks are ours from now on, not the machine's.
        run("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run")
        network.make_machine_room()
        self.minio.start()
        self.write_description()

    def start_cluster(self, name: str) -> LabCluster:
        """Start a cluster, or what of it does not run, and return it when its nodes are ready."""
        cluster = self._cluster(name)
        cluster.start()
        (cluster.folder / "started").touch()
        self.write_description()
        return cluster

    def stop_cluster(self, name: str) -> None:
        """End a cluster and delete all of it: the next of its name begins with nothing."""
        cluster = self._cluster(name)
        cluster.stop()
        cluster.close()
        shutil.rmtree(cluster.folder)
        del self._known[name]
        self.write_description()

    def write_description(self) -> None:
        """Write lab.json, for programs that are not Python: what there is, and where.

        holder is the file that begins with the id of the process whose namespaces are the node's, as it is now.
        """
        description = {
            "minio": {"endpoint": self.minio.endpoint, "credentials": str(self.minio.root_file)},
            "clusters": {
                name: {
                    "kubeconfig": str(cluster.kubeconfig),
                    "api": cluster.addresses.api,
                    "nodes": {
                        node.name: {"address": node.address, "holder": str(node.holder.record)}
                        for node in cluster.nodes
                    },
                }
                for name, cluster in self.clusters.items()
            },
        }
        file = self.directory / "lab.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(description, indent=2))
        new.rename(file)

    def _cluster(self, name: str) -> LabCluster:
        if name not in self._known:
            self._known[name] = LabCluster(name, self.directory)
        return self._known[name]

    def _is_started(self, name: str) -> bool:
        return (self.directory / name / "started").exists()
