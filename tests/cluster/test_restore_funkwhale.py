"""funkwhale is lost with a gigabyte and comes back into another cluster as its team deploys it: an API that no server
has any more, a volume that was bound by hand, and a pooler before its database. Then once more, from the same points.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.bulk import UPLOADS, fill
from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.funkwhale import PRIMARY, STANDBYS, get, is_pool_whole, reads, shell, sql
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import read_ledger
from tests.cluster.lost import Lost
from tests.cluster.process import wait_until
from tests.cluster.protection import policy_of
from tests.cluster.smoke import Visitor
from tests.cluster.system import FOLDER, FUNKWHALE
from tests.cluster.under_load import protected
from tests.cluster.way_back import Answer, WayBack, inventory, lose

pytestmark = [pytest.mark.cluster, pytest.mark.lab, pytest.mark.long]

LOADED_S = 20
SETTLED_S = 120
OLD_API = "autoscaling/v2beta2"
OLDER_API = "autoscaling/v2beta1"  # of another shape than all that followed
AUTOSCALER = "HorizontalPodAutoscaler fw-nginx-autoscaler"


@dataclass(frozen=True)
class Funkwhale(Lost):
    """funkwhale, which is lost: deployment is the folder from which its team deploys it."""

    deployment: Path


@pytest.fixture(scope="module")
def lost(
    cluster: LabCluster, second_cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Funkwhale]:
    folder = tmp_path_factory.mktemp("lost")
    deployment = folder / "deployment"
    shutil.copytree(FOLDER / "funkwhale", deployment)
    (deployment / "nginx-autoscaler-v2beta2.yaml").replace(autoscaler(deployment))
    FUNKWHALE.deploy(cluster)
    rows = fill(cluster, FUNKWHALE, folder / "ledger")
    with protected(cluster, lab, FUNKWHALE, folder, policy_of(FUNKWHALE.name, deployment)) as scene:
        scene.wait_until_inside()
        scene.load.wait(LOADED_S)
        scene.load.stop()
        way = WayBack.of(scene.protection, second_cluster)
        for volume in ("objects", "redis"):
            scene.protection.run_now(volume)
        moment = datetime.now(UTC)
        Visitor.of(FUNKWHALE, cluster).write_post("too late")
        scene.protection.run_now("music")  # which comes back to its first walk after the moment
        scene.wait(lambda: scene.oracle.newest("postgres") > moment, "all WAL is in the store", SETTLED_S)
        scene.protection.stop()
        lose(cluster, FUNKWHALE)
        for node in cluster.nodes:
            node.run("rm", "-rf", "/srv/funkwhale")
        ledger, volumes = read_ledger(folder / "ledger"), frozenset({"objects", "postgres", "redis", "music"})
        yield Funkwhale(way, ledger, scene.before, rows, moment, "music", volumes, deployment)
        FUNKWHALE.remove(second_cluster)


def autoscaler(deployment: Path) -> Path:
    """Return the file of the autoscaler in the folder of a deployment."""
    return deployment / "nginx-autoscaler.yaml"


def test_an_api_that_nothing_served_takes_the_place_of_is_refused_by_name_before_any_write(
    lost: Funkwhale,
) -> None:
    file = autoscaler(lost.deployment)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(OLD_API, OLDER_API), encoding="utf-8")
    before = inventory(lost.way.target, FUNKWHALE.namespace)
    try:
        answer = lost.way.restore(code=5)
    finally:
        file.write_text(text, encoding="utf-8")

    [refusal] = answer["plan"]["refusals"]
    assert refusal["about"] == AUTOSCALER
    assert OLDER_API in refusal["message"]
    assert inventory(lost.way.target, FUNKWHALE.namespace) == before


def test_funkwhale_comes_back_twice_from_the_same_points_and_each_time_its_wal_flows(
    lost: Funkwhale, tmp_path: Path
) -> None:
    target = lost.way.target
    first = lost.come_back(tmp_path)

    assert f"{AUTOSCALER}: {OLD_API} becomes autoscaling/v2" in first["restore"]["notes"]
    assert_music_fits(lost, first)
    assert_deployed(target)
    assert_reads_are_spread(target)
    assert_replicas(target)
    lost.assert_kept_again()

    again = lost.come_back_again(first, tmp_path)

    assert_music_fits(lost, again)
    lost.assert_kept_again()


def assert_music_fits(lost: Funkwhale, answer: Answer) -> None:
    """Assert that the database is as of the moment, and of a walk after that the files, with all that its rows name."""
    restored = answer["restore"]
    [music] = restored["references"]
    assert (music["missing"], music["listed"] > UPLOADS) == (0, True)
    moments = {each["volume"]: datetime.fromisoformat(each["moment"]) for each in restored["volumes"]}
    assert moments["postgres"] == lost.moment < moments["music"]


def assert_deployed(cluster: Cluster) -> None:
    """Assert that the autoscaler is there, in a version that is served, and that no volume lies on a hand-made path."""
    bounds = get(cluster, "hpa/fw-nginx-autoscaler", "{.apiVersion} {.spec.minReplicas}-{.spec.maxReplicas}")
    assert bounds == "autoscaling/v2 2-4"
    cpu = "{.spec.metrics[0].resource.target.averageUtilization}"
    assert get(cluster, "hpa/fw-nginx-autoscaler", cpu) == "50"
    volume = get(cluster, "pvc/fw-postgres-pv-claim", "{.spec.volumeName}")
    assert volume.startswith("pvc-")
    assert get(cluster, f"pv/{volume}", "{.status.phase} {.spec.storageClassName}") == "Bound local-path"


def assert_reads_are_spread(cluster: Cluster) -> None:
    """Assert that pgpool knows every server, and sends each some of what is read."""
    wait_until(lambda: is_pool_whole(cluster), "pgpool knows all servers", deadline_s=SETTLED_S)
    visitor, before = Visitor.of(FUNKWHALE, cluster), reads(cluster)
    post = visitor.write_post("for every server")

    def each_server_was_asked() -> bool:
        assert visitor.read_post(post) == "for every server"
        after = reads(cluster)
        return all(after[server] > before[server] for server in (PRIMARY, *STANDBYS))

    # A connection that Django opened before pgpool knew a standby, and keeps for a minute, does not use it.
    wait_until(each_server_was_asked, "each server was asked", deadline_s=SETTLED_S)


def assert_replicas(cluster: Cluster) -> None:
    """Assert that every replica, of either database, follows the one that has the data."""
    query = "select application_name from pg_stat_replication where state = 'streaming'"
    wait_until(
        lambda: set(STANDBYS) <= set(sql(cluster, PRIMARY, query).split()),
        "both standbys stream",
        deadline_s=SETTLED_S,
    )
    posts = sql(cluster, PRIMARY, "select count(*) from posts")
    wait_until(
        lambda: {sql(cluster, each, "select count(*) from posts") for each in STANDBYS} == {posts},
        "every standby has every post",
        deadline_s=SETTLED_S,
    )
    wait_until(
        lambda: "connected_slaves:2" in shell(cluster, "redis-0", "redis-cli info replication"),
        "two replicas follow redis-0",
        deadline_s=SETTLED_S,
    )
