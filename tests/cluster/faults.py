"""Faults, one line each, for tests on the lab: what breaks here is broken for real, and mended when the `with` ends.

with cut(node):      # and killed(node), killed(lab.minio), frozen(lab.minio.process), drained(cluster, node)
    ...

Those of volumes are in volume_faults.py, those of the object store in store_faults.py. Each may be used again, and
one inside of another.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from kubernetes.client import CoreV1Api, V1Eviction, V1ObjectMeta

from tests.cluster.cluster import Cluster
from tests.cluster.node import Node
from tests.cluster.process import LabFailed, Process, run, started_at, wait_until

GONE_S = 60
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"


class Killable(Protocol):
    """A part of the lab that can be killed and started again: a node, MinIO, any Process."""

    def kill(self) -> None: ...
    def start(self) -> None: ...


@contextmanager
def killed(part: Killable) -> Iterator[None]:
    """Kill a part of the lab as a power cut would, and start it again."""
    part.kill()
    try:
        yield
    finally:
        part.start()


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """Let a process stand still: its connections stay open, and nobody answers."""
    process.freeze()
    try:
        yield
    finally:
        if process.alive:
            process.thaw()


def kill_pod(cluster: Cluster, namespace: str, name: str) -> None:
    """Kill all processes of a pod at once, take it out of the API, and wait until nothing of it runs."""
    uid = _uid(cluster, namespace, name)
    crash_pod(cluster, namespace, name)
    cluster.kubectl("delete", "pod", name, "-n", namespace, "--force", "--grace-period=0", "--wait=false")
    wait_until(lambda: not processes_of(uid), f"nothing of pod {name} runs", deadline_s=GONE_S)


def crash_pod(cluster: Cluster, namespace: str, name: str) -> None:
    """Kill all processes of a pod at once, which stays in the API: its kubelet does what its restart policy says."""
    for pid in processes_of(_uid(cluster, namespace, name)):
        _signal(pid, signal.SIGKILL)


def evict_pod(cluster: Cluster, namespace: str, name: str) -> None:
    """Evict a pod as a drain does: it may end in its grace period, and a PodDisruptionBudget may refuse."""
    eviction = V1Eviction(metadata=V1ObjectMeta(name=name, namespace=namespace))
    CoreV1Api(cluster.api).create_namespaced_pod_eviction(name, namespace, eviction)


@contextmanager
def frozen_pod(cluster: Cluster, namespace: str, name: str) -> Iterator[None]:
    """Let all processes of a pod stand still."""
    pids = processes_of(_uid(cluster, namespace, name))
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)


def processes_of(uid: str) -> list[int]:
    """Return the ids of a pod's living processes, on whatever node: the names of their control groups hold its uid."""
    return [pid for pid in _processes() if started_at(pid) and f"pod{uid}" in _control_groups(pid)]


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _control_groups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _uid(cluster: Cluster, namespace: str, name: str) -> str:
    return cluster.kubectl("get", "pod", name, "-n", namespace, "-o", "jsonpath={.metadata.uid}")


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@contextmanager
def cut(node: Node) -> Iterator[None]:
    """Pull the plug of a node's network: it and its pods go on, among themselves."""
    run("ip", "link", "set", node.name, "down")
    try:
        yield
    finally:
        run("ip", "link", "set", node.name, "up")


@contextmanager
def drained(cluster: Cluster, node: Node) -> Iterator[None]:
    """Evict all pods of a node, and let it have none, as for maintenance."""
    try:
        cluster.kubectl(
            "drain", node.name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"
        )
        yield
    finally:
        cluster.kubectl("uncordon", node.name)


def moved_clock(by: timedelta) -> Mapping[str, str]:
    """Return the environment in which a process of C or Python sees the time moved; programs in Go do not mind it.

    Timeouts go on as ever: the monotonic clock is left alone. For a pod: mount the library at the path in LD_PRELOAD.
    """
    found = sorted(Path("/").glob(FAKETIME.lstrip("/")))
    if not found:
        raise LabFailed(f"there is no {FAKETIME}", hint="Install Debian's package libfaketime.")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": f"{by.total_seconds():+f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
