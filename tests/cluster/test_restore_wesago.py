"""wesago is lost with a gigabyte and comes back into another cluster: replicas, Sentinels that had moved the master,
media, logs, and tasks that were waiting. Then once more, from the same points.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.bulk import fill
from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import read_ledger
from tests.cluster.lost import Lost
from tests.cluster.process import wait_until
from tests.cluster.smoke import Visitor, read_page
from tests.cluster.system import WESAGO
from tests.cluster.under_load import protected
from tests.cluster.way_back import WayBack, lose
from tests.cluster.wesago import (
    SETTLED_S,
    assert_held_until_released,
    inside,
    logged,
    master,
    move_master,
    order_tasks,
    sql,
)

pytestmark = [pytest.mark.cluster, pytest.mark.lab, pytest.mark.long]

LOADED_S = 20
FOLLOWED_S = 120


@dataclass(frozen=True)
class Wesago(Lost):
    """wesago, which is lost: tasks are those that were waiting."""

    tasks: tuple[str, ...]


@pytest.fixture(scope="module")
def lost(
    cluster: LabCluster, second_cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Wesago]:
    folder = tmp_path_factory.mktemp("lost")
    WESAGO.deploy(cluster)
    rows = fill(cluster, WESAGO, folder / "ledger")
    with protected(cluster, lab, WESAGO, folder) as scene:
        scene.wait_until_inside()
        scene.load.wait(LOADED_S)
        scene.load.stop()
        move_master(cluster)
        tasks = order_tasks(cluster)
        way = WayBack.of(scene.protection, second_cluster)
        for volume in ("media", "logs", "objects", "redis"):
            scene.protection.run_now(volume)
        assert master(cluster) not in ("", "redis-0")
        moment = datetime.now(UTC)
        Visitor.of(WESAGO, cluster).write_post("too late")
        scene.wait(lambda: scene.oracle.newest("postgres") > moment, "all WAL is in the store", FOLLOWED_S)
        scene.protection.stop()
        lose(cluster, WESAGO)
        ledger = read_ledger(folder / "ledger")
        volumes = frozenset({"objects", "postgres", "redis", "media", "logs"})
        yield Wesago(way, ledger, scene.before, rows, moment, "media", volumes, tasks)
        WESAGO.remove(second_cluster)


def test_wesago_comes_back_twice_from_the_same_points_and_each_time_its_wal_flows(
    lost: Wesago, tmp_path: Path
) -> None:
    first = lost.come_back(tmp_path)
    assert_whole(lost)

    lost.come_back_again(first, tmp_path)
    assert_whole(lost)


def assert_whole(lost: Wesago) -> None:
    """Assert that all that makes wesago one is there, and protected."""
    target = lost.way.target
    assert b"We talk at" in read_page(replace(WESAGO.site(target), host="www.wesago.k3s")).content
    assert_replicas(target)
    assert len(logged(target, "wesago-django")) > 1
    assert_guarded(target)
    assert_held_until_released(lost.way, lost.tasks)
    lost.assert_kept_again()


def assert_replicas(cluster: Cluster) -> None:
    """Assert that every replica, of either database, follows the one that has the data, and all Sentinels say so."""
    query = "select count(*) from pg_stat_replication where state = 'streaming' and application_name like 'postgres-%'"
    wait_until(
        lambda: int(sql(cluster, "postgres-0", query)) >= 2, "two replicas stream", deadline_s=SETTLED_S
    )
    posts = sql(cluster, "postgres-0", "select count(*) from posts")
    replicas = ("postgres-1", "postgres-2")
    wait_until(
        lambda: {sql(cluster, each, "select count(*) from posts") for each in replicas} == {posts},
        "every replica has every post",
        deadline_s=SETTLED_S,
    )
    wait_until(lambda: master(cluster) == "redis-0", "the Sentinels agree on redis-0", deadline_s=SETTLED_S)
    wait_until(
        lambda: "connected_slaves:2" in inside(cluster, "redis-0", "redis-cli", "info", "replication"),
        "two replicas follow redis-0",
        deadline_s=SETTLED_S,
    )


def assert_guarded(cluster: Cluster) -> None:
    """Assert that what scales, and what limits disruption, is there and sees its pods."""
    named = f"--namespace={WESAGO.namespace}"
    scaled = json.loads(cluster.kubectl("get", "hpa", named, "--output=json"))["items"]
    assert {each["metadata"]["name"] for each in scaled} == {"nginx", "nginx-website", "wesago-django"}
    budgets = json.loads(cluster.kubectl("get", "pdb", named, "--output=json"))["items"]
    assert len(budgets) == 6
    assert all(each["status"]["expectedPods"] >= 2 for each in budgets)
