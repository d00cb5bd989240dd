"""The lab and its clusters, or the cluster of KUBECONFIG, as fixtures."""

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest

from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.lab import VARIABLE, Lab

LONGEST_NAME = 40


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that the tests run in."""
    return Lab.here()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Cluster a of the lab; outside of a lab the one of KUBECONFIG."""
    with closing(_cluster()) as cluster:
        yield cluster


def _cluster() -> Cluster:
    if os.environ.get(VARIABLE):
        return Lab.here().start_cluster("a")
    kubeconfig = os.environ.get("KUBECONFIG")
    assert kubeconfig, "there is no cluster: use make test-cluster"
    return Cluster("existing", Path(kubeconfig))


@pytest.fixture(scope="session")
def second_cluster(lab: Lab) -> Iterator[LabCluster]:
    """Cluster b of the lab, which is started for those who ask; ended afterwards, unless it was there before."""
    was_there = "b" in lab.clusters
    yield lab.start_cluster("b")
    if not was_there:
        lab.stop_cluster("b")


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new namespace, named for the test; deleted afterwards."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:LONGEST_NAME].strip("-")
    name = f"{words}-{token_hex(2)}"
    cluster.kubectl("create", "namespace", name)
    cluster.wait_for("serviceaccount/default", "create", namespace=name)  # without it, no pod is let in
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
