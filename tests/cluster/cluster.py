"""A cluster, as tests use it: its API, its nodes, and how to wait for something in it.

One of the lab's clusters has nodes and a control plane, which tests may kill. Any other has a kubeconfig and no more.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from pathlib import Path

from kubernetes import client, config

from tests.cluster import local_path, network, node_settings
from tests.cluster.addresses import ClusterAddresses
from tests.cluster.control_plane import ControlPlane, is_ok
from tests.cluster.dns import core_dns
from tests.cluster.images import IMAGES
from tests.cluster.network_policies.enforcement import network_policies
from tests.cluster.node import Node
from tests.cluster.process import LabFailed, Process, run, wait_until

READY_S = 120
DEFAULT_WAIT_S = 180


class Cluster:
    """A cluster that is reached through kubeconfig. nodes is empty where they are not ours to kill."""

    nodes: Sequence[Node] = ()

    def __init__(self, name: str, kubeconfig: Path, kubectl: str | Path = "kubectl") -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl

    @cached_property
    def api(self) -> client.ApiClient:
        """The official client, as administrator: `client.CoreV1Api(cluster.api)`."""
        made: client.ApiClient = config.new_client_from_config(str(self.kubeconfig))  # type: ignore[no-untyped-call]
        return made

    def close(self) -> None:
        """Let go of the connections of `api`."""
        if "api" in vars(self):
            self.api.rest_client.pool_manager.clear()

    def kubectl(self, *arguments: str | Path, stdin: str = "", deadline_s: float = DEFAULT_WAIT_S) -> str:
        """Run kubectl and return what it printed. Raises LabFailed, with what it said, if it fails."""
        command = (self._kubectl, f"--kubeconfig={self.kubeconfig}", *arguments)
        return run(*command, given=stdin, deadline_s=deadline_s)

    def apply(self, path: Path, *, namespace: str | None = None) -> None:
        """Apply a file, or a folder with a kustomization."""
        how = "--kustomize" if path.is_dir() else "--filename"
        self.kubectl("apply", how, path, *(["--namespace", namespace] if namespace else []))

    def wait_for(
        self, what: str, condition: str, *, namespace: str = "default", deadline_s: float = DEFAULT_WAIT_S
    ) -> None:
        """Wait until an object, `pod/postgres-0`, is there and meets condition: `condition=Ready`, `jsonpath=…`.

        Raises LabFailed, with the object's description and the events of its namespace, after deadline_s.
        """
        options = (what, f"--namespace={namespace}", f"--timeout={deadline_s:g}s")
        try:
            for each in dict.fromkeys(("create", condition)):
                self.kubectl("wait", f"--for={each}", *options, deadline_s=deadline_s + 10)
        except LabFailed as failure:
            seen = self._look_at(what, namespace)
            raise LabFailed(f"{failure.message}\n{seen}") from failure

    def wait_for_rollout(
        self, what: str, *, namespace: str = "default", deadline_s: float = DEFAULT_WAIT_S
    ) -> None:
        """Wait until every pod of a Deployment, StatefulSet or DaemonSet is the newest and ready."""
        options = (f"--namespace={namespace}", f"--timeout={deadline_s:g}s")
        try:
            self.kubectl("rollout", "status", what, *options, deadline_s=deadline_s + 10)
        except LabFailed as failure:
            seen = self._look_at("pods", namespace)
            raise LabFailed(f"{failure.message}\n{seen}") from failure

    def _look_at(self, what: str, namespace: str) -> str:
        looks = (
            ("describe", what),
            ("get", "pods", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        )
        said = []
        for look in looks:
            try:
                said.append(self.kubectl(*look, f"--namespace={namespace}")[-4_000:])
            except LabFailed as failure:
                said.append(failure.message)
        return "\n".join(said)


class LabCluster(Cluster):
    """One of the two clusters of the lab whose folder is lab, by its name; it need not have been started."""

    def __init__(self, name: str, lab: Path) -> None:
        addresses = ClusterAddresses(name)
        self.addresses = addresses
        self.folder = lab / name
        self.folder.mkdir(exist_ok=True)
        self.control_plane = ControlPlane(addresses, lab)
        super().__init__(name, self.control_plane.user("admin"), lab / "bin/kubectl")
        self.nodes = [Node(node, self.control_plane, lab) for node in addresses.nodes]
        self.dns = core_dns(self.control_plane, lab)
        self.provisioner = local_path.local_path_provisioner(self.control_plane, lab)
        self.network_policies = network_policies(self.control_plane, self.nodes, lab)

    @property
    def processes(self) -> list[Process]:
        """What runs beside the nodes."""
        return [*self.control_plane.processes, self.dns, self.provisioner, self.network_policies]

    def start(self) -> None:
        """Start the cluster: the nodes begin while the API server does. Return when all nodes are ready."""
        network.add_control_plane(self.addresses)
        with ThreadPoolExecutor() as pool:
            booting = [pool.submit(node.boot) for node in self.nodes]
            self.control_plane.start()
            self.dns.start()
            objects = local_path.objects(IMAGES["base"].reference)
            self.kubectl("apply", "--filename=-", stdin=json.dumps(objects))
            self.provisioner.start()
            self.network_policies.start()
            for boot in booting:
                boot.result()
        for node in self.nodes:
            node.join()
        for node in self.nodes:
            self.wait_until_ready(node)
        for process in self.processes:
            process.check_alive()

    def wait_until_ready(self, node: Node) -> None:
        """Return when the API server calls node ready, and Services can be reached from it.

        Raises LabFailed with the last words of kubelet or kube-proxy, whose state the API server does not know.
        """
        wait_until(
            lambda: self._is_ready(node),
            f"node {node.name} is ready",
            deadline_s=READY_S,
            process=node.kubelet,
        )
        wait_until(
            lambda: is_ok(f"http://{node.address}:{node_settings.PROXY_HEALTH_PORT}/healthz"),
            f"kube-proxy of {node.name} has written its rules",
            deadline_s=READY_S,
            process=node.proxy,
        )

    def stop(self) -> None:
        """End everything of the cluster."""
        for node in self.nodes:
            node.kill()
        for process in reversed(self.processes):
            process.kill()
        network.remove_control_plane(self.addresses)

    def _is_ready(self, node: Node) -> bool:
        """Tell whether node is ready, and was seen since its last start: kubelet has renewed its lease."""
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        lease = ("lease", node.name, "--namespace=kube-node-lease", "--output=jsonpath={.spec.renewTime}")
        try:
            said = self.kubectl("get", "node", node.name, f"--output=jsonpath={path}")
            renewed = datetime.fromisoformat(self.kubectl("get", *lease))
        except (LabFailed, ValueError):  # not there yet, or empty
            return False
        return said == "True" and renewed > node.kubelet.started
