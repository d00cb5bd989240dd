"""`drtool restore --to-cluster` on real clusters: tiny is lost, and comes back into another one from kit and bucket."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster.cluster import LabCluster
from tests.cluster.faults import kill_pod, killed
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import Ledger, read_ledger
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.protection import write_secret
from tests.cluster.smoke import Visitor, visit
from tests.cluster.system import TINY
from tests.cluster.under_load import protected
from tests.cluster.way_back import (
    IMAGE,
    LATER,
    RESTORE_S,
    UNPROTECTED,
    Answer,
    WayBack,
    assert_told_as_it_was,
    inventory,
    lose,
    moments_of,
)
from tests.faults.proxy import Delay, FaultProxy

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

LOADED_S = 20
STRIDE = 5  # entries of the journal between two kills
IN_THE_DATA = 24  # entries after which the movers are at work
AWAY_S = 60
HELD_S = 10  # what a mover asks of the store takes so long, until it is at work
BEGUN_S = 120
PSQL = (
    "psql",
    "--host=/var/run/postgresql",
    "--username=tiny",
    "--dbname=tiny",
    "--tuples-only",
    "--command",
)


@dataclass(frozen=True)
class Lost:
    """tiny, which is lost, the way back, and the ledger of what it had; before is what it had before the ledger.

    A table was dropped just after mistake.
    """

    way: WayBack
    ledger: Ledger
    before: frozenset[str]
    mistake: datetime


@pytest.fixture(scope="module")
def lost(
    cluster: LabCluster, second_cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lost]:
    folder = tmp_path_factory.mktemp("lost")
    TINY.deploy(cluster)
    with protected(cluster, lab, TINY, folder) as scene:
        scene.wait_until_inside()
        scene.load.wait(LOADED_S)
        scene.load.stop()
        for volume in ("files", "redis", "objects"):
            scene.protection.run_now(volume)
        sql = "create table precious as select generate_series(1, 1000) as id"
        execute(cluster, "postgres-0", *PSQL, sql, namespace="tiny")
        mistake = datetime.now(UTC)
        execute(cluster, "postgres-0", *PSQL, "drop table precious", namespace="tiny")
        scene.wait(scene.is_followed, "all WAL is in the store", LOADED_S * 3)
        way = WayBack.of(scene.protection, second_cluster)
        scene.protection.stop()
        lose(cluster, TINY)
        yield Lost(way, read_ledger(folder / "ledger"), scene.before, mistake)


@pytest.fixture
def emptied(lost: Lost) -> Iterator[Lost]:
    """The way back into a cluster that has nothing of tiny; what comes is taken away afterwards."""
    yield lost
    TINY.remove(lost.way.target)


def assert_complete(lost: Lost, answer: Answer) -> None:
    """Assert that all is there that was acknowledged by the moments that the answer tells."""
    volumes = answer["restore"]["volumes"]
    assert_kept(lost, {each["volume"]: datetime.fromisoformat(each["moment"]) for each in volumes})


def assert_kept(lost: Lost, moments: dict[str, datetime]) -> None:
    """Assert that all is there that was acknowledged by the moments of its volumes, files too, and nothing else."""
    found = lost.way.compare(lost.ledger, moments, uploads="files")
    for kind in ("posts", "uploads", "tasks"):
        each = found.of(kind)
        assert (each.missing, each.altered, each.without_file) == ((), (), ()), kind
        assert set(each.foreign) - lost.before == set(), kind
    assert found.of("posts").acknowledged > 0


def test_a_lost_system_comes_back_into_another_cluster_and_is_protected_there(
    emptied: Lost, lab: Lab, tmp_path: Path
) -> None:
    way = emptied.way
    write_secret(tmp_path / "drtool-s3", way.protection.writer_secret())

    enrols = ("--admin-key-file", f"{way.protection.kit}.admin", "--writer-secrets", tmp_path)
    answer, asked, served = way.timed_restore(*enrols)

    assert answer["restore"]["outcome"] == "restored"
    assert_told_as_it_was(answer["restore"], asked, served)
    assert_complete(emptied, answer)
    visit(Visitor.of(TINY, way.target))
    names = {volume["volume"] for volume in answer["restore"]["volumes"]}
    assert names == {"postgres", "redis", "files", "objects"}


def test_a_mistake_is_undone_by_the_moment_before_it(emptied: Lost) -> None:
    way = emptied.way

    answer = way.restore("--at", emptied.mistake.isoformat())

    said = execute(way.target, "postgres-0", *PSQL, "select count(*) from precious", namespace="tiny")
    assert said.strip() == "1000"
    assert_complete(emptied, answer)


@pytest.mark.long
def test_whenever_drtool_is_killed_the_run_is_gone_on_with(emptied: Lost, tmp_path: Path) -> None:
    way = emptied.way
    run, code = way.killed_after(3, tmp_path, "--image", IMAGE, *LATER)
    kills = 0
    while code is None:
        kills += 1
        _, code = way.killed_after(STRIDE, tmp_path, "--resume", run)

    assert code in (UNPROTECTED, 5)  # killed after the last entry, it has ended
    assert kills > 3
    answer = way.run("--resume", run, "--confirm-target", way.uid, code=5)
    assert "has ended" in answer["error"]["message"]
    assert_kept(emptied, moments_of(way.protection, "postgres", "files"))
    visit(Visitor.of(TINY, way.target))


def test_a_run_that_was_killed_is_undone_and_the_cluster_is_as_it_was(emptied: Lost, tmp_path: Path) -> None:
    way = emptied.way
    before = inventory(way.target, TINY.namespace)
    run, _ = way.killed_after(IN_THE_DATA, tmp_path, "--image", IMAGE, *LATER)

    undone = way.run("--abort", run, "--confirm-target", way.uid)["restore"]

    assert undone["outcome"] == "aborted"
    assert inventory(way.target, TINY.namespace) == before


@pytest.mark.long
def test_a_run_waits_for_an_api_server_that_is_away_while_movers_work(
    emptied: Lost, second_cluster: LabCluster, lab: Lab
) -> None:
    with restoring(emptied, lab) as (result, store):
        with killed(second_cluster.control_plane.apiserver):
            store.clear()
            with pytest.raises(TimeoutError):
                result.result(AWAY_S)
        assert_complete(emptied, result.result(RESTORE_S))


@pytest.mark.long
def test_a_mover_that_is_killed_is_followed_by_another_one(emptied: Lost, lab: Lab) -> None:
    with restoring(emptied, lab) as (result, store):
        pod, _ = mover(emptied.way)
        kill_pod(emptied.way.target, TINY.namespace, pod)
        store.clear()
        assert_complete(emptied, result.result(RESTORE_S))


@pytest.mark.long
def test_a_node_that_is_lost_while_movers_work_is_waited_for(
    emptied: Lost, second_cluster: LabCluster, lab: Lab
) -> None:
    with restoring(emptied, lab) as (result, store):
        _, name = mover(emptied.way)
        [node] = [each for each in second_cluster.nodes if each.name == name]
        with killed(node):
            store.clear()
            with pytest.raises(TimeoutError):
                result.result(AWAY_S)
        assert_complete(emptied, result.result(RESTORE_S))


@pytest.mark.long
def test_a_node_that_stays_away_is_named_and_the_run_is_gone_on_with_once_it_is_back(
    emptied: Lost, second_cluster: LabCluster, lab: Lab
) -> None:
    with restoring(emptied, lab, code=75) as (result, store):
        _, name = mover(emptied.way)
        [node] = [each for each in second_cluster.nodes if each.name == name]
        with killed(node):
            store.clear()
            answer = result.result(RESTORE_S)
        failure, run = answer["restore"]["failure"], answer["restore"]["run"]
        named = rf"step restore (\w+): pod (\S+) is on node {name}, which says nothing"
        told = re.fullmatch(named, failure["cause"])
        assert told, failure["cause"]
        volume, pod = told.groups()
        assert f"restore {volume}" in failure["steps"]
        assert f"delete pod {pod} --force" in failure["hint"]
        assert failure["way_on"].startswith(f"Go on with --resume {run}, or undo it with --abort {run}")
        second_cluster.wait_until_ready(node)

        unattended = ("--confirm-target", emptied.way.uid, "--endpoint", store.endpoint)
        assert_complete(emptied, emptied.way.run("--resume", run, *unattended, code=UNPROTECTED))


@contextmanager
def restoring(
    lost: Lost, lab: Lab, *, code: int = UNPROTECTED
) -> Iterator[tuple[Future[Answer], FaultProxy]]:
    """Restore to the moment before the mistake; give the answer to come, and the store, once PostgreSQL is on its way.

    Movers are held in what they ask of the store, until that is cleared.
    """
    address = str(urlsplit(lab.minio.endpoint).hostname)
    with FaultProxy(lab.minio.endpoint, address=address) as store, ThreadPoolExecutor(1) as pool:
        store.inject(Delay(HELD_S), times=None, when="X-Amz-Signature")  # whoever has a signed URL
        asks = ("--at", lost.mistake.isoformat(), "--endpoint", store.endpoint)
        result = pool.submit(lost.way.restore, *asks, code=code)
        wait_until(
            lambda: any("/postgres/" in path and "X-Amz-Signature" in path for _, path in [*store.requests]),
            "the mover of postgres is at work",
            deadline_s=BEGUN_S,
        )
        yield result, store


def mover(way: WayBack) -> tuple[str, str]:
    """Return the pod that brings PostgreSQL back, and its node."""
    chosen = "drtool.io/volume=postgres,app.kubernetes.io/component=mover"
    what = ("get", "pods", f"--namespace={TINY.namespace}", f"--selector={chosen}")
    path = '{range .items[?(@.status.phase=="Running")]}{.metadata.name} {.spec.nodeName}{"\\n"}{end}'
    found: list[str] = []

    def runs() -> bool:
        found[:] = way.target.kubectl(*what, f"--output=jsonpath={path}").split()
        return len(found) == 2

    wait_until(runs, "the mover of postgres runs", deadline_s=BEGUN_S)
    return found[0], found[1]
