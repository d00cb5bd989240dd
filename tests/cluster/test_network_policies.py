"""NetworkPolicies are enforced in the lab: between pods of one node and of two, from and to the machine room."""

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cluster.cluster import LabCluster
from tests.cluster.faults import killed
from tests.cluster.lab import Lab
from tests.cluster.process import wait_until
from tests.cluster.sample_pods import PORT, PORT_NAME, SamplePod, start_pods

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

IN_FORCE_S = 90
RESTARTED_S = 180
TO_DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


@dataclass(frozen=True)
class Scene:
    """A pod that others connect to, one beside it, and one on the other node."""

    server: SamplePod
    near: SamplePod
    far: SamplePod

    def put(self, name: str, *types: str, chosen: dict[str, Any] | None = None, **rules: Any) -> None:
        """Put a policy of the scene's namespace into the API, for all pods or those chosen by labels."""
        policy = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": self.server.namespace},
            "spec": {"podSelector": {"matchLabels": chosen or {}}, "policyTypes": types, **rules},
        }
        self.server.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(policy))

    def delete(self, *names: str) -> None:
        self.server.cluster.kubectl("delete", "networkpolicy", *names, "-n", self.server.namespace)

    def who_reaches_the_server(self) -> set[str]:
        """Return who connects: the pod beside it, the one on the other node, the machine room."""
        address = self.server.address
        found = {pod.name for pod in (self.near, self.far) if pod.reaches(address)}
        try:
            socket.create_connection((address, PORT), timeout=2).close()
        except OSError:
            return found
        return found | {"room"}


ALL = {"near", "far", "room"}


@pytest.fixture
def scene(cluster: LabCluster, namespace: str) -> Scene:
    here, there = (node.name for node in cluster.nodes)
    return Scene(*start_pods(cluster, namespace, [here, here, there], ["server", "near", "far"]))


def test_a_default_deny_closes_pods_to_their_own_node_to_others_and_to_the_outside_until_it_is_deleted(
    scene: Scene,
) -> None:
    assert scene.who_reaches_the_server() == ALL

    scene.put("deny", "Ingress")
    wait_until(lambda: not scene.who_reaches_the_server(), "nobody reaches the pod", deadline_s=IN_FORCE_S)
    assert scene.who_reaches_the_server() == set()

    scene.delete("deny")
    wait_until(
        lambda: scene.who_reaches_the_server() == ALL, "all reach the pod again", deadline_s=IN_FORCE_S
    )


def test_a_default_deny_of_egress_closes_the_way_to_minio_and_to_pods_until_it_is_deleted(
    scene: Scene, lab: Lab
) -> None:
    store = urlsplit(lab.minio.endpoint)
    assert store.hostname
    assert store.port
    minio = (store.hostname, store.port)
    assert scene.near.reaches(*minio)

    scene.put("deny", "Egress", chosen={"name": "near"})
    wait_until(lambda: not scene.near.reaches(*minio), "MinIO is out of reach", deadline_s=IN_FORCE_S)
    assert not scene.near.reaches(scene.server.address)
    assert not scene.near.reaches(scene.far.address)
    assert scene.far.reaches(*minio)

    scene.delete("deny")
    wait_until(lambda: scene.near.reaches(*minio), "MinIO is in reach again", deadline_s=IN_FORCE_S)


def test_a_rule_opens_what_it_names_also_through_a_service(scene: Scene, cluster: LabCluster) -> None:
    """The policy sees the pod's address and port, though the client knows the Service's alone."""
    options = ("server", "-n", scene.server.namespace)
    cluster.kubectl("expose", "pod", *options, "--name=service", "--port=80", f"--target-port={PORT}")
    service = cluster.kubectl(
        "get", "service", "service", "-n", scene.server.namespace, "-o", "jsonpath={.spec.clusterIP}"
    )
    wait_until(lambda: scene.near.reaches(service, 80), "the Service is there", deadline_s=IN_FORCE_S)
    scene.put("deny", "Ingress", "Egress")
    wait_until(lambda: not scene.near.reaches(service, 80), "it is closed", deadline_s=IN_FORCE_S)

    near, server = ({"podSelector": {"matchLabels": {"name": name}}} for name in ("near", "server"))
    port = [{"port": PORT_NAME}]
    scene.put("allow-in", "Ingress", chosen={"name": "server"}, ingress=[{"from": [near], "ports": port}])
    scene.put("allow-out", "Egress", chosen={"name": "near"}, egress=[{"to": [server], "ports": port}])

    wait_until(lambda: scene.near.reaches(service, 80), "the Service is open to one", deadline_s=IN_FORCE_S)
    assert scene.who_reaches_the_server() == {"near"}
    assert not scene.far.reaches(service, 80)


def test_a_closed_pod_becomes_ready_for_its_node_may_probe_it(scene: Scene, cluster: LabCluster) -> None:
    scene.put("deny", "Ingress", "Egress")
    wait_until(lambda: not scene.who_reaches_the_server(), "nobody reaches the pod", deadline_s=IN_FORCE_S)

    (late,) = start_pods(cluster, scene.server.namespace, [cluster.nodes[0].name], ["late"])

    wait_until(
        lambda: not late.reaches(scene.server.address), "the new pod is closed too", deadline_s=IN_FORCE_S
    )
    assert late.get('{.status.conditions[?(@.type=="Ready")].status}') == "True"


def test_a_rule_for_the_pods_of_dns_opens_the_labs_dns(scene: Scene, cluster: LabCluster, lab: Lab) -> None:
    lookup = ("getent", "hosts", "kubernetes.default.svc.cluster.local")
    to_dns = {"to": [TO_DNS], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}

    scene.put("dns-only", "Egress", egress=[to_dns])
    wait_until(lambda: not scene.near.reaches(scene.far.address), "it is closed", deadline_s=IN_FORCE_S)

    assert cluster.addresses.api_service in scene.near.run(*lookup)


def test_rules_stay_when_the_enforcement_is_killed_and_follow_again_when_it_is_back(
    scene: Scene, cluster: LabCluster
) -> None:
    scene.put("deny", "Ingress")
    wait_until(lambda: not scene.who_reaches_the_server(), "nobody reaches the pod", deadline_s=IN_FORCE_S)

    with killed(cluster.network_policies):
        scene.delete("deny")
        assert scene.who_reaches_the_server() == set()

    wait_until(
        lambda: scene.who_reaches_the_server() == ALL, "all reach the pod again", deadline_s=IN_FORCE_S
    )


def test_policies_are_followed_when_the_api_server_was_away(scene: Scene, cluster: LabCluster) -> None:
    with killed(cluster.control_plane.apiserver):
        pass
    wait_until(cluster.control_plane.answers, "the API server answers again", deadline_s=RESTARTED_S)

    scene.put("deny", "Ingress")

    wait_until(lambda: not scene.who_reaches_the_server(), "nobody reaches the pod", deadline_s=IN_FORCE_S)


def test_a_node_that_was_started_again_has_its_rules(scene: Scene, cluster: LabCluster) -> None:
    scene.put("deny", "Ingress", chosen={"name": "server"})
    node = cluster.nodes[0]

    with killed(node):
        pass
    cluster.wait_until_ready(node)
    wait_until(lambda: _restarted(scene.server), "the pod runs again", deadline_s=RESTARTED_S)
    scene.server.wait_until_ready()

    wait_until(lambda: not scene.far.reaches(scene.server.address), "it is closed", deadline_s=IN_FORCE_S)
    scene.near.wait_until_ready()
    assert scene.far.reaches(scene.near.address)


def _restarted(pod: SamplePod) -> bool:
    return pod.get("{.status.containerStatuses[0].restartCount}") not in ("", "0")
