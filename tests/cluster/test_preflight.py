"""What a restore refuses before it writes anything: images, tried on the nodes of a real cluster."""

import json
import os
from datetime import UTC, datetime

import pytest

from drtool.errors import Refused
from drtool.operations.cluster_restore.images import check_images
from drtool.operations.session import Silent, World
from drtool.recovery.wishes import Wishes
from drtool.sources.kubernetes.client import Cluster as Target
from tests.cluster.cluster import Cluster
from tests.cluster.images import IMAGES, archive
from tests.cluster.process import wait_until
from tests.operations.cluster_restore.planned import plan_of
from tests.recovery.captured import Json, workload

pytestmark = pytest.mark.cluster

MISSING = "drtool.test/missing:1"
POSTGRES, REDIS = (IMAGES[name].reference for name in ("postgres", "redis"))
GONE_S = 60


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> World:
    for node in cluster.nodes:
        for name in ("postgres", "redis"):
            node.load(archive(name))
    return World(lambda: datetime.now(UTC), {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}, Silent())


def served_by(kind: str, image: str) -> Json:
    """Return a workload of an image that no registry has, and that the nodes may have."""
    container = {"name": "app", "image": image, "imagePullPolicy": "IfNotPresent"}
    return workload("StatefulSet", kind, pod={"containers": [container]})


def check(world: World, run: str, *objects: Json, major: int = 15, rdb: int = 10) -> tuple[str, ...]:
    made = plan_of(*objects, wishes=Wishes(image=REDIS), postgres=major, rdb=rdb)
    with Target.open(None, world.environment) as target:
        return check_images(world, target, run, made)


def left(cluster: Cluster) -> list[str]:
    found = json.loads(cluster.kubectl("get", "namespaces", "--selector=drtool.io/run", "--output=json"))
    return [each["metadata"]["name"] for each in found["items"]]


def test_what_runs_there_is_not_refused_and_nothing_is_left(cluster: Cluster, world: World) -> None:
    assert check(world, "well", served_by("db", POSTGRES), served_by("redis", REDIS)) == ()
    wait_until(lambda: not left(cluster), "the namespace is gone", deadline_s=GONE_S)


def test_all_that_cannot_run_there_is_refused_with_its_reason_and_nothing_is_left(
    cluster: Cluster, world: World
) -> None:
    objects = served_by("db", POSTGRES), served_by("redis", REDIS), served_by("web", MISSING)
    with pytest.raises(Refused) as refusal:
        check(world, "badly", *objects, major=16, rdb=12)

    print(refusal.value.message)
    missing, postgres, redis = refusal.value.message.split("; ")
    assert missing.startswith(f"image {MISSING} of StatefulSet web cannot be pulled: ")
    assert postgres == f"volume postgres is of PostgreSQL 16, and {POSTGRES} has 15"
    assert (
        redis == f"volume redis is an RDB of version 12, and {REDIS} has Redis 7.0.15, which reads up to 10"
    )
    wait_until(lambda: not left(cluster), "the namespace is gone", deadline_s=GONE_S)
