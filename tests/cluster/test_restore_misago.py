"""misago is lost with a gigabyte and comes back into another cluster: its Redis has no claim, and is filled once it
runs; its static files are copied by hand. Then once more, from the same points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.bulk import fill
from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import read_ledger
from tests.cluster.lost import Lost
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.smoke import Visitor, read_page
from tests.cluster.system import MISAGO
from tests.cluster.under_load import protected
from tests.cluster.way_back import Answer, WayBack, lose

pytestmark = [pytest.mark.cluster, pytest.mark.lab, pytest.mark.long]

LOADED_S = 20
SETTLED_S = 60
FOLLOWED_S = 120
KEYS = 2000
FILL = f"for i = 1, {KEYS} do redis.call('SET', 'kept:' .. i, ARGV[1]) end"


@dataclass(frozen=True)
class Misago(Lost):
    """misago, which is lost: word is what each of many keys of its Redis held."""

    word: str


@pytest.fixture(scope="module")
def lost(
    cluster: LabCluster, second_cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Misago]:
    folder, word = tmp_path_factory.mktemp("lost"), uuid4().hex
    MISAGO.deploy(cluster)  # without what its team does by hand afterwards
    rows = fill(cluster, MISAGO, folder / "ledger")
    with protected(cluster, lab, MISAGO, folder) as scene:
        scene.wait_until_inside()
        scene.load.wait(LOADED_S)
        scene.load.stop()
        redis(cluster, "redis-0", "EVAL", FILL, "0", word)
        execute(cluster, "deployment/misago", "test", "!", "-e", "/media/static", namespace=MISAGO.namespace)
        way = WayBack.of(scene.protection, second_cluster)
        for volume in ("media", "objects", "redis"):
            scene.protection.run_now(volume)
        moment = datetime.now(UTC)
        Visitor.of(MISAGO, cluster).write_post("too late")
        scene.wait(lambda: scene.oracle.newest("postgres") > moment, "all WAL is in the store", FOLLOWED_S)
        scene.protection.stop()
        lose(cluster, MISAGO)
        ledger, volumes = read_ledger(folder / "ledger"), frozenset({"objects", "postgres", "redis", "media"})
        yield Misago(way, ledger, scene.before, rows, moment, "media", volumes, word)
        MISAGO.remove(second_cluster)


def test_misago_comes_back_twice_from_the_same_points_and_each_time_its_wal_flows(
    lost: Misago, tmp_path: Path
) -> None:
    first = lost.come_back(tmp_path)
    assert_whole(lost, first)

    assert_whole(lost, lost.come_back_again(first, tmp_path))


def assert_whole(lost: Misago, answer: Answer) -> None:
    """Assert that all that makes misago one is there, and protected."""
    assert_filled(lost.way.target, lost.word)
    assert_told(answer)
    assert_copied_by_hook(lost.way.target, answer)
    lost.assert_kept_again()


def assert_copied_by_hook(cluster: Cluster, answer: Answer) -> None:
    """Assert that static files are there, which no point holds: a command in a pod of misago has put them there."""
    assert "hook static files" in answer["restore"]["steps"]
    assert b"font-family" in read_page(MISAGO.site(cluster), "/static/standin/style.css").content


def assert_filled(cluster: Cluster, word: str) -> None:
    """Assert that the master has every key, takes writes, and that its replicas have them too."""
    assert redis(cluster, "redis-0", "ROLE").splitlines()[0] == "master"
    pods = ("redis-0", "redis-1", "redis-2")
    wait_until(
        lambda: {redis(cluster, each, "GET", f"kept:{KEYS}") for each in pods} == {word},
        "every pod has the last key",
        deadline_s=SETTLED_S,
    )
    for pod in pods:
        keys = redis(cluster, pod, "EVAL_RO", "return #redis.call('KEYS', 'kept:*')", "0")
        assert int(keys) == KEYS, pod
    assert redis(cluster, "redis-0", "SET", "new", "1") == "OK"


def assert_told(answer: Answer) -> None:
    """Assert that whoever restored was told that Redis came late, and what became of its queues."""
    notes = "\n".join(answer["restore"]["notes"])
    assert "volume redis: its data lies in no claim" in notes
    assert "redis: messages held" in notes


def redis(cluster: Cluster, pod: str, *command: str) -> str:
    return execute(cluster, pod, "redis-cli", *command, namespace=MISAGO.namespace)
