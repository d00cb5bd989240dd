"""wesago is lost with a gigabyte and comes back into another cluster: replicas, Sentinels that had moved the master,
media, logs, and tasks that were waiting. Then once more, from the same points.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.bulk import GIGABYTE, UPLOADS, digest, fill
from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import Ledger, read_ledger
from tests.cluster.process import wait_until
from tests.cluster.protection import write_secret
from tests.cluster.smoke import Visitor, read_page, visit
from tests.cluster.system import WESAGO
from tests.cluster.under_load import protected
from tests.cluster.way_back import (
    Answer,
    WayBack,
    assert_followed,
    assert_told_as_it_was,
    lose,
    points_of,
)
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
class Lost:
    """wesago, which is lost, the way back, and the ledger of what it had; before is what it had before the ledger.

    All of the ledger was acknowledged by moment. rows is the digest of its rows, tasks are those that were waiting.
    """

    way: WayBack
    ledger: Ledger
    before: frozenset[str]
    rows: str
    tasks: tuple[str, ...]
    moment: datetime


@pytest.fixture(scope="module")
def lost(
    cluster: LabCluster, second_cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lost]:
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
        yield Lost(way, read_ledger(folder / "ledger"), scene.before, rows, tasks, moment)
        WESAGO.remove(second_cluster)


def test_wesago_comes_back_twice_from_the_same_points_and_each_time_its_wal_flows(
    lost: Lost, tmp_path: Path
) -> None:
    write_secret(tmp_path / "drtool-s3", lost.way.protection.writer_secret())

    first = come_back(lost, tmp_path)
    WESAGO.remove(lost.way.target)
    again = come_back(lost, tmp_path)

    assert points_of(again) == points_of(first)


def come_back(lost: Lost, secrets: Path) -> Answer:
    """Restore to the moment, and return the answer. Assert that all that makes wesago one is there, and protected."""
    way, target = lost.way, lost.way.target
    enrols = ("--admin-key-file", f"{way.protection.kit}.admin", "--writer-secrets", secrets)

    answer, asked, served = way.timed_restore("--at", lost.moment.isoformat(), *enrols)

    restored = answer["restore"]
    assert restored["outcome"] == "restored"
    assert_told_as_it_was(restored, asked, served, lost.moment)
    assert set(points_of(answer)) == {"objects", "postgres", "redis", "media", "logs"}
    assert sum(each["size"] for each in restored["volumes"]) > GIGABYTE
    way.judge(answer, lost.ledger, lost.before, uploads="media")
    assert len(lost.ledger.of("uploads")) > UPLOADS
    assert digest(target, WESAGO) == lost.rows
    visit(Visitor.of(WESAGO, target))
    assert b"We talk at" in read_page(replace(WESAGO.site(target), host="www.wesago.k3s")).content
    assert_replicas(target)
    assert len(logged(target, "wesago-django")) > 1
    assert_guarded(target)
    assert_held_until_released(way, lost.tasks)
    assert_followed(way)
    return answer


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
