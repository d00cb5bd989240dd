"""Clusters for a test, whose connections end with it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from drtool.sources.kubernetes.client import Cluster

OpenCluster = Callable[..., Cluster]


@pytest.fixture
def open_cluster() -> Iterator[OpenCluster]:
    """Return `Cluster.open`, of whose connections none is left behind."""
    with ExitStack() as held:
        yield lambda *where, **how: held.enter_context(Cluster.open(*where, **how))
