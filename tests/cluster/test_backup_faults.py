"""What goes wrong in the middle of a backup, on tiny and under load: each ends well, and the ledger is the judge."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.cluster import LabCluster
from tests.cluster.faults import evict_pod, kill_pod, killed
from tests.cluster.lab import Lab
from tests.cluster.process import LabFailed, wait_until
from tests.cluster.system import TINY
from tests.cluster.under_load import SEEN_S, Scene, protected

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

ENDS_S = 240
AWAY_S = 15  # how long what is killed stays away


@pytest.fixture(scope="module")
def scene(cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    TINY.deploy(cluster)
    with protected(cluster, lab, TINY, tmp_path_factory.mktemp("faults")) as made:
        made.wait_until_inside()
        yield made
    TINY.remove(cluster)


def end_well(scene: Scene, job: str, volume: str, before: set[str]) -> None:
    """Wait until job has ended well: it made a point more, and none was lost."""
    scene.store.clear()
    scene.protection.finish(job, deadline_s=ENDS_S)
    assert before < scene.names(volume), "a listed point was lost, or none was made"


def test_a_pod_that_is_killed_is_replaced_by_one_that_needs_no_hand(
    scene: Scene, cluster: LabCluster
) -> None:
    before = scene.names("postgres")
    job = scene.begin_slowly("postgres")
    running = scene.protection.running_pod(job)
    assert running is not None

    kill_pod(cluster, "tiny", running[0])

    end_well(scene, job, "postgres", before)
    scene.judge(uploads="files")


@pytest.mark.long
def test_a_mover_that_is_evicted_is_no_failure(scene: Scene, cluster: LabCluster) -> None:
    before = scene.names("files")
    job = scene.begin_slowly("files")
    running = scene.protection.running_pod(job)
    assert running is not None

    evict_pod(cluster, "tiny", running[0])

    end_well(scene, job, "files", before)
    scene.judge(uploads="files")


@pytest.mark.long
def test_two_runs_at_once_disturb_each_other_in_nothing(scene: Scene) -> None:
    before = scene.names("redis")

    jobs = [scene.protection.begin("redis") for _ in range(2)]
    for job in jobs:
        scene.protection.finish(job, deadline_s=ENDS_S)

    assert len(scene.names("redis") - before) >= len(jobs)


def test_a_store_that_dies_in_the_middle_is_waited_for(scene: Scene, lab: Lab) -> None:
    before = scene.names("postgres")
    job = scene.begin_slowly("postgres")

    with killed(lab.minio):
        scene.load.wait(AWAY_S)

    end_well(scene, job, "postgres", before)
    assert [code for code, _ in scene.protection.ends(job)] == [0]
    scene.wait(scene.is_followed, "the follower is at work again", ENDS_S)
    scene.judge(uploads="files")


@pytest.mark.long
def test_an_api_server_that_dies_in_the_middle_is_waited_for(scene: Scene, cluster: LabCluster) -> None:
    before = scene.names("objects")
    job = scene.protection.begin("objects")
    scene.wait(lambda: scene.protection.running_pod(job) is not None, "the pod runs", SEEN_S)

    with killed(cluster.control_plane.apiserver):
        scene.load.wait(AWAY_S)

    wait_until(cluster.control_plane.answers, "the API server answers", deadline_s=ENDS_S)
    end_well(scene, job, "objects", before)
    assert [code for code, _ in scene.protection.ends(job)] == [0]
    scene.wait(scene.is_followed, "the follower has not minded", ENDS_S)


@pytest.mark.long
def test_a_node_that_dies_in_the_middle_costs_no_point(scene: Scene, cluster: LabCluster) -> None:
    """While it is away its Job hangs, and the next begins when it is back: Kubernetes waits for the node."""
    before = scene.names("postgres")
    job = scene.begin_slowly("postgres")
    running = scene.protection.running_pod(job)
    assert running is not None
    (node,) = [node for node in cluster.nodes if node.name == running[1]]

    with killed(node):
        scene.load.wait(AWAY_S)
        assert before <= scene.names("postgres")

    cluster.wait_until_ready(node)
    TINY.wait_until_ready(cluster)
    end_well(scene, job, "postgres", before)
    scene.wait(scene.is_followed, "the follower is at work again", ENDS_S)
    scene.judge(uploads="files")


@pytest.mark.long
def test_what_a_suspended_cron_job_missed_is_told_and_made_up_for_by_itself(scene: Scene) -> None:
    suspend(scene, "redis", is_suspended=True)
    try:
        before = scene.names("redis")
        scene.wait(lambda: is_overdue(scene, "redis"), "what did not come is told", ENDS_S)
    finally:
        suspend(scene, "redis", is_suspended=False)

    scene.wait(lambda: not is_overdue(scene, "redis"), "it is made up for", ENDS_S)
    assert before < scene.names("redis")


def suspend(scene: Scene, volume: str, *, is_suspended: bool) -> None:
    change = json.dumps({"spec": {"suspend": is_suspended}})
    scene.protection.kubectl("patch", "cronjob", f"drtool-backup-{volume}", f"--patch={change}")


def is_overdue(scene: Scene, volume: str) -> bool:
    return bool(scene.protection.status()[volume]["overdue"])


def test_a_key_that_a_secret_lost_is_named_where_a_person_looks(scene: Scene) -> None:
    kubectl = scene.protection.kubectl
    lost = [{"op": "remove", "path": "/data/REDIS_PASSWORD"}]
    kept = json.loads(kubectl("get", "secret", "redis-secrets", "--output=json"))["data"]
    kubectl("patch", "secret", "redis-secrets", "--type=json", "--patch", json.dumps(lost))
    try:
        job = scene.protection.begin("redis")
        with pytest.raises(
            LabFailed, match="exit 2: backup: 1 failed; error: redis: key REDIS_PASSWORD of Secret"
        ):
            scene.protection.finish(job, deadline_s=ENDS_S)
        described = "describe", "cronjob", "drtool-backup-redis"
        scene.wait(lambda: "BackupFailed" in kubectl(*described), "an Event tells of it", SEEN_S)
    finally:
        kubectl("patch", "secret", "redis-secrets", "--patch", json.dumps({"data": kept}))

    scene.protection.run_now("redis", deadline_s=ENDS_S)
