"""Small pods for tests of the lab itself: each listens, and connects to others when it is asked to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.images import IMAGES
from tests.cluster.process import LabFailed

PORT = 8080
ANSWER = "here"
PORT_NAME = "sample"
CONNECT_S = 2
CLAIM_AT = "/data"
LISTEN = f"""
my $server = IO::Socket::INET->new(LocalPort => {PORT}, Listen => 16, ReuseAddr => 1) or die;
while (my $client = $server->accept) {{ print $client "{ANSWER}\\n"; close $client }}
"""


@dataclass(frozen=True)
class SamplePod:
    """A pod that is ready. Its labels are app=sample and name=NAME, unless it was given others."""

    cluster: Cluster
    namespace: str
    name: str

    @property
    def uid(self) -> str:
        return self.get("{.metadata.uid}")

    @property
    def address(self) -> str:
        return self.get("{.status.podIP}")

    def get(self, path: str) -> str:
        """Return what the API has at a JSONPath of the pod."""
        return self.cluster.kubectl("get", "pod", self.name, "-n", self.namespace, "-o", f"jsonpath={path}")

    def run(self, *argv: str) -> str:
        """Run a command in the pod and return what it printed. Raises LabFailed if it fails."""
        return self.cluster.kubectl("exec", self.name, "-n", self.namespace, "--", *argv)

    def reaches(self, host: str, port: int = PORT) -> bool:
        """Tell whether somebody accepts a connection from the pod, within CONNECT_S."""
        try:
            self.run("timeout", str(CONNECT_S), "bash", "-c", f"</dev/tcp/{host}/{port}")
        except LabFailed:
            return False
        return True

    def wait_until_ready(self) -> None:
        self.cluster.wait_for(f"pod/{self.name}", "condition=Ready", namespace=self.namespace)


def start_pods(
    cluster: Cluster,
    namespace: str,
    nodes: Sequence[str],
    names: Sequence[str],
    claim: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> list[SamplePod]:
    """Start pods of these names, each on the node beside it, with claim at CLAIM_AT, and return when they are ready."""
    pods = [_pod(namespace, name, node, claim) for name, node in zip(names, nodes, strict=True)]
    for pod in pods:
        pod["metadata"]["labels"] = labels or {"app": "sample", "name": pod["metadata"]["name"]}
    given = {"apiVersion": "v1", "kind": "List", "items": pods}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(given))
    samples = [SamplePod(cluster, namespace, name) for name in names]
    for sample in samples:
        sample.wait_until_ready()
    return samples


def _pod(namespace: str, name: str, node: str, claim: str | None) -> dict[str, Any]:
    container = {
        "name": "sample",
        "image": IMAGES["base"].reference,
        "command": ["perl", "-MIO::Socket::INET", "-e", LISTEN],
        "ports": [{"name": PORT_NAME, "containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": CLAIM_AT}],
    }
    volume = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "data", **volume}],
        },
    }
