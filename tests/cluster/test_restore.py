"""`drtool restore --to-cluster` on real clusters: tiny is lost, and comes back into another one from kit and bucket."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cluster.cluster import LabCluster
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import Ledger, read_ledger
from tests.cluster.observe import execute
from tests.cluster.protection import write_secret
from tests.cluster.smoke import Visitor, visit
from tests.cluster.system import TINY
from tests.cluster.under_load import protected
from tests.cluster.way_back import IMAGE, Answer, WayBack, inventory, lose, moments_of

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

LOADED_S = 20
STRIDE = 5  # entries of the journal between two kills
GRAIN = timedelta(seconds=2)  # the store tells its clock in whole seconds
STARTS = timedelta(seconds=20)  # a Python process, and the keys that it unlocks, while other tests run
MOST = 0.9  # phases may run beside each other, never leave a hole
IN_THE_DATA = 24  # entries after which the movers are at work
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
    """Assert that all is there that was acknowledged by the moments of its volumes, and nothing else."""
    found = lost.way.compare(lost.ledger, moments, uploads="files")
    for kind in ("posts", "uploads", "tasks"):
        each = found.of(kind)
        assert (each.missing, each.altered) == ((), ()), kind
        assert set(each.foreign) - lost.before == set(), kind
    assert found.of("posts").acknowledged > 0


def assert_told_as_it_was(restored: Answer, asked: datetime, served: datetime) -> None:
    """Assert that the times and losses that the report tells are those of a clock outside of it."""
    begun, ended = (datetime.fromisoformat(restored[name]) for name in ("begun", "ended"))
    assert asked - GRAIN <= begun < asked + STARTS
    assert served - STARTS < ended <= served + GRAIN
    assert sum(restored["phases"].values()) >= (ended - begun).total_seconds() * MOST
    for volume in restored["volumes"]:
        lost = (begun - datetime.fromisoformat(volume["moment"])).total_seconds()
        assert volume["loss_seconds"] == pytest.approx(lost, abs=1), volume["volume"]


def test_a_lost_system_comes_back_into_another_cluster_and_is_protected_there(
    emptied: Lost, lab: Lab, tmp_path: Path
) -> None:
    way = emptied.way
    write_secret(tmp_path / "drtool-s3", way.protection.writer_secret())

    asked = datetime.now(UTC)
    answer = way.restore(*("--admin-key-file", f"{way.protection.kit}.admin", "--writer-secrets", tmp_path))
    served = datetime.now(UTC)

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
    run, code = way.killed_after(3, tmp_path, "--image", IMAGE)
    kills = 0
    while code is None:
        kills += 1
        _, code = way.killed_after(STRIDE, tmp_path, "--resume", run)

    assert code in (0, 5)  # killed after the last entry, it has ended
    assert kills > 3
    answer = way.run("--resume", run, "--confirm-target", way.uid, code=5)
    assert "has ended" in answer["error"]["message"]
    visit(Visitor.of(TINY, way.target))
    assert_kept(emptied, moments_of(way.protection, "postgres", "files"))


def test_a_run_that_was_killed_is_undone_and_the_cluster_is_as_it_was(emptied: Lost, tmp_path: Path) -> None:
    way = emptied.way
    before = inventory(way.target, TINY.namespace)
    run, _ = way.killed_after(IN_THE_DATA, tmp_path, "--image", IMAGE)

    undone = way.run("--abort", run, "--confirm-target", way.uid)["restore"]

    assert undone["outcome"] == "aborted"
    assert inventory(way.target, TINY.namespace) == before
