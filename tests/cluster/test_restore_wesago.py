"""wesago is lost and comes back into another cluster: replicas, Sentinels that had moved the master, media, logs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import Ledger, read_ledger
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.protection import write_secret
from tests.cluster.smoke import Visitor, read_page, visit
from tests.cluster.system import WESAGO
from tests.cluster.under_load import protected
from tests.cluster.way_back import WayBack, lose

pytestmark = [pytest.mark.cluster, pytest.mark.lab, pytest.mark.long]

LOADED_S = 20
SETTLED_S = 60
SENTINEL = ("redis-cli", "-p", "26379", "sentinel")
PSQL = ("psql", "--username=wesago", "--no-align", "--tuples-only", "--command")


@dataclass(frozen=True)
class Lost:
    """wesago, which is lost, the way back, and the ledger of what it had; before is what it had before the ledger."""

    way: WayBack
    ledger: Ledger
    before: frozenset[str]


@pytest.fixture(scope="module")
def lost(
    cluster: LabCluster, second_cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lost]:
    folder = tmp_path_factory.mktemp("lost")
    WESAGO.deploy(cluster)
    move_master(cluster)
    with protected(cluster, lab, WESAGO, folder) as scene:
        scene.wait_until_inside()
        scene.load.wait(LOADED_S)
        scene.load.stop()
        for volume in ("objects", "redis", "media", "logs"):
            scene.protection.run_now(volume)
        scene.wait(scene.is_followed, "all WAL is in the store", SETTLED_S)
        way = WayBack.of(scene.protection, second_cluster)
        assert master(cluster) != "redis-0"
        scene.protection.stop()
        lose(cluster, WESAGO)
        yield Lost(way, read_ledger(folder / "ledger"), scene.before)
        WESAGO.remove(second_cluster)


def test_wesago_comes_back_with_all_that_makes_it_one_and_is_protected_there(
    lost: Lost, lab: Lab, tmp_path: Path
) -> None:
    way, target = lost.way, lost.way.target
    write_secret(tmp_path / "drtool-s3", way.protection.writer_secret())

    answer = way.restore(*("--admin-key-file", f"{way.protection.kit}.admin", "--writer-secrets", tmp_path))

    restored = answer["restore"]
    assert restored["outcome"] == "restored"
    moments = {each["volume"]: datetime.fromisoformat(each["moment"]) for each in restored["volumes"]}
    assert set(moments) == {"objects", "postgres", "redis", "media", "logs"}
    assert_complete(lost, moments)
    visit(Visitor.of(WESAGO, target))
    assert b"We talk at" in read_page(replace(WESAGO.site(target), host="www.wesago.k3s")).content
    assert_replicas(target)
    assert len(logged(target, "wesago-django")) > 1
    assert_guarded(target)


def assert_complete(lost: Lost, moments: dict[str, datetime]) -> None:
    """Assert that all is there that was acknowledged by the moments of the volumes."""
    found = lost.way.compare(lost.ledger, moments, uploads="media")
    for kind in ("posts", "uploads", "tasks"):
        each = found.of(kind)
        assert (each.missing, each.altered) == ((), ()), kind
        assert set(each.foreign) - lost.before == set(), kind
    assert found.of("posts").acknowledged > 0
    assert found.of("uploads").acknowledged > 0


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


def move_master(cluster: Cluster) -> None:
    """Have the Sentinels make another Redis than redis-0 the master."""
    wait_until(
        lambda: "num-slaves\n2" in inside(cluster, "sentinel-0", *SENTINEL, "master", "mymaster"),
        "the Sentinels know the replicas",
        deadline_s=SETTLED_S,
    )
    inside(cluster, "sentinel-0", *SENTINEL, "failover", "mymaster")
    wait_until(
        lambda: master(cluster) not in ("", "redis-0"), "another Redis is the master", deadline_s=SETTLED_S
    )


def master(cluster: Cluster) -> str:
    """Return the pod that all Sentinels call the master; empty while they do not agree."""
    said = {
        inside(cluster, f"sentinel-{number}", *SENTINEL, "get-master-addr-by-name", "mymaster")
        for number in range(3)
    }
    return said.pop().partition(".")[0] if len(said) == 1 else ""


def logged(cluster: Cluster, component: str) -> list[str]:
    """Return the lines that a component wrote, of all its life."""
    file = f"/var/log/components/{component}.log"
    return inside(cluster, "deployment/rsyslog-server", "cat", file).splitlines()


def sql(cluster: Cluster, pod: str, query: str) -> str:
    return inside(cluster, pod, *PSQL, query)


def inside(cluster: Cluster, pod: str, *command: str) -> str:
    return execute(cluster, pod, *command, namespace=WESAGO.namespace)
