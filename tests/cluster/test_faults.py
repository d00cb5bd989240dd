"""Every fault of pods, nodes, volumes and clocks is real, and mended at the end."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kubernetes.client import ApiException

from tests.cluster import volume_faults
from tests.cluster.cluster import LabCluster
from tests.cluster.faults import (
    crash_pod,
    cut,
    drained,
    evict_pod,
    frozen_pod,
    kill_pod,
    killed,
    moved_clock,
    processes_of,
)
from tests.cluster.lab import Lab
from tests.cluster.node import Node
from tests.cluster.process import LabFailed, wait_until
from tests.cluster.sample_pods import CLAIM_AT, SamplePod, start_pods
from tests.cluster.volume_faults import full_volume, small_volume

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

SEEN_S = 180


@pytest.fixture
def node(cluster: LabCluster) -> Node:
    return cluster.nodes[1]


@pytest.fixture
def pod(cluster: LabCluster, namespace: str, node: Node) -> SamplePod:
    (made,) = start_pods(cluster, namespace, [node.name], ["sample"])
    return made


def condition(cluster: LabCluster, node: Node) -> str:
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return cluster.kubectl("get", "node", node.name, "-o", f"jsonpath={path}")


def answers(pod: SamplePod) -> bool:
    """Tell whether the program in a pod, and not the kernel alone, answers a connection of the pod's own."""
    try:
        return bool(
            pod.run("timeout", "2", "bash", "-c", "read -r said </dev/tcp/127.0.0.1/8080 && echo $said")
        )
    except LabFailed:
        return False


def test_of_a_killed_pod_nothing_is_left(cluster: LabCluster, pod: SamplePod) -> None:
    uid = pod.uid
    assert processes_of(uid)

    kill_pod(cluster, pod.namespace, pod.name)

    assert processes_of(uid) == []
    assert cluster.kubectl("get", "pods", "-n", pod.namespace, "-o", "name") == ""


def test_a_crashed_pod_is_started_again_by_its_kubelet(cluster: LabCluster, pod: SamplePod) -> None:
    uid = pod.uid

    crash_pod(cluster, pod.namespace, pod.name)

    restarts = "{.status.containerStatuses[0].restartCount}"
    wait_until(lambda: pod.get(restarts) not in ("", "0"), "the pod was started again", deadline_s=SEEN_S)
    assert pod.uid == uid


def test_an_evicted_pod_is_gone(cluster: LabCluster, pod: SamplePod) -> None:
    evict_pod(cluster, pod.namespace, pod.name)

    cluster.kubectl("wait", "--for=delete", f"pod/{pod.name}", "-n", pod.namespace, "--timeout=60s")


def test_a_disruption_budget_refuses_an_eviction(cluster: LabCluster, pod: SamplePod) -> None:
    budget = ("--selector=app=sample", "--min-available=1", "-n", pod.namespace)
    cluster.kubectl("create", "poddisruptionbudget", "keep", *budget)

    with pytest.raises(ApiException) as refused:
        evict_pod(cluster, pod.namespace, pod.name)

    assert refused.value.status == 429


def test_a_frozen_pod_answers_nothing_until_it_is_thawed(cluster: LabCluster, pod: SamplePod) -> None:
    assert answers(pod)

    with frozen_pod(cluster, pod.namespace, pod.name):
        states = [
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            for pid in processes_of(pod.uid)
        ]
        assert set(states) == {"T"}
        assert not answers(pod)

    assert answers(pod)


def test_a_killed_node_is_dead_and_not_ready_and_comes_back(
    cluster: LabCluster, pod: SamplePod, node: Node
) -> None:
    uid = pod.uid

    with killed(node):
        assert not node.kubelet.alive
        assert not node.containerd.alive
        assert processes_of(uid) == []
        wait_until(
            lambda: condition(cluster, node) == "Unknown", "the API misses the node", deadline_s=SEEN_S
        )

    cluster.wait_until_ready(node)


def test_a_node_that_was_cut_reaches_nobody_and_its_pods_run_on(
    lab: Lab, cluster: LabCluster, pod: SamplePod, node: Node
) -> None:
    def reaches_the_store() -> bool:
        try:
            node.run("timeout", "2", "bash", "-c", "</dev/tcp/10.250.0.1/9000")
        except LabFailed:
            return False
        return True

    uid = pod.uid
    running = processes_of(uid)
    assert reaches_the_store()

    with cut(node):
        assert not reaches_the_store()
        wait_until(
            lambda: condition(cluster, node) == "Unknown", "the API misses the node", deadline_s=SEEN_S
        )
        assert processes_of(uid) == running

    wait_until(reaches_the_store, "the node reaches the store again", deadline_s=SEEN_S)
    cluster.wait_until_ready(node)


def test_a_drained_node_has_no_pods_and_takes_none(cluster: LabCluster, pod: SamplePod, node: Node) -> None:
    def unschedulable() -> str:
        return cluster.kubectl("get", "node", node.name, "-o", "jsonpath={.spec.unschedulable}")

    with drained(cluster, node):
        assert cluster.kubectl("get", "pods", "-n", pod.namespace, "-o", "name") == ""
        assert unschedulable() == "true"

    assert unschedulable() == ""


def test_a_killed_api_server_does_not_answer_and_comes_back(cluster: LabCluster) -> None:
    assert cluster.control_plane.answers()

    with killed(cluster.control_plane.apiserver):
        assert not cluster.control_plane.answers()
        with pytest.raises(LabFailed, match="refused"):
            cluster.kubectl("get", "nodes")

    wait_until(cluster.control_plane.answers, "the API server answers again", deadline_s=SEEN_S)


def write(pod: SamplePod, kilobytes: int) -> None:
    pod.run("dd", "if=/dev/zero", f"of={CLAIM_AT}/file", "bs=1024", f"count={kilobytes}")


def test_a_small_volume_holds_so_much_and_a_full_one_nothing_more(
    cluster: LabCluster, namespace: str, node: Node
) -> None:
    with small_volume(cluster, node, namespace, "data", megabytes=10):
        (pod,) = start_pods(cluster, namespace, [node.name], ["sample"], claim="data")
        write(pod, 5_000)
        with pytest.raises(LabFailed, match="No space left on device"):
            write(pod, 15_000)
        write(pod, 1)

        with (
            full_volume(cluster, namespace, "data"),
            pytest.raises(LabFailed, match="No space left on device"),
        ):
            write(pod, 15)

        write(pod, 5_000)
        kill_pod(cluster, namespace, pod.name)


def test_a_volume_that_is_not_small_is_not_filled(
    cluster: LabCluster, namespace: str, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_faults, "LARGEST_TO_FILL", 1)

    with (
        small_volume(cluster, node, namespace, "data"),
        pytest.raises(LabFailed, match="too large to be filled"),
        full_volume(cluster, namespace, "data"),
    ):
        pass


@pytest.mark.parametrize("by", [timedelta(days=-400), timedelta(hours=3)])
def test_a_moved_clock_is_seen_by_a_process_and_its_stopwatch_is_not(by: timedelta) -> None:
    tell = "import time; print(time.time(), time.monotonic())"

    said = subprocess.run([sys.executable, "-c", tell], env=moved_clock(by), capture_output=True, check=True)
    clock, stopwatch = map(float, said.stdout.split())

    assert abs(datetime.fromtimestamp(clock, UTC) - (datetime.now(UTC) + by)) < timedelta(seconds=30)
    assert abs(stopwatch - time.monotonic()) < 30
