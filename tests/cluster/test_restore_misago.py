"""misago is lost with a gigabyte and comes back into another cluster: its Redis has no claim, and is filled once it
runs; its static files are copied by hand. Then once more, from the same points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.bulk import GIGABYTE, UPLOADS, digest, fill
from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import Ledger, read_ledger
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.protection import write_secret
from tests.cluster.smoke import Visitor, read_page, visit
from tests.cluster.system import MISAGO
from tests.cluster.under_load import protected
from tests.cluster.way_back import (
    Answer,
    WayBack,
    assert_followed,
    assert_told_as_it_was,
    lose,
    points_of,
)

pytestmark = [pytest.mark.cluster, pytest.mark.lab, pytest.mark.long]

LOADED_S = 20
SETTLED_S = 60
FOLLOWED_S = 120
KEYS = 2000
FILL = f"for i = 1, {KEYS} do redis.call('SET', 'kept:' .. i, ARGV[1]) end"


@dataclass(frozen=True)
class Lost:
    """misago, which is lost, the way back, and the ledger of what it had; before is what it had before the ledger.

    All of the ledger was acknowledged by moment. rows is the digest of its rows, word what each of many keys of its
    Redis held.
    """

    way: WayBack
    ledger: Ledger
    before: frozenset[str]
    rows: str
    word: str
    moment: datetime


@pytest.fixture(scope="module")
def lost(
    cluster: LabCluster, second_cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lost]:
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
        yield Lost(way, read_ledger(folder / "ledger"), scene.before, rows, word, moment)
        MISAGO.remove(second_cluster)


def test_misago_comes_back_twice_from_the_same_points_and_each_time_its_wal_flows(
    lost: Lost, tmp_path: Path
) -> None:
    write_secret(tmp_path / "drtool-s3", lost.way.protection.writer_secret())

    first = come_back(lost, tmp_path)
    MISAGO.remove(lost.way.target)
    again = come_back(lost, tmp_path)

    assert points_of(again) == points_of(first)


def come_back(lost: Lost, secrets: Path) -> Answer:
    """Restore to the moment, and return the answer. Assert that all that makes misago one is there, and protected."""
    way, target = lost.way, lost.way.target
    enrols = ("--admin-key-file", f"{way.protection.kit}.admin", "--writer-secrets", secrets)

    answer, asked, served = way.timed_restore("--at", lost.moment.isoformat(), *enrols)

    restored = answer["restore"]
    assert restored["outcome"] == "restored"
    assert_told_as_it_was(restored, asked, served, lost.moment)
    assert set(points_of(answer)) == {"objects", "postgres", "redis", "media"}
    assert sum(each["size"] for each in restored["volumes"]) > GIGABYTE
    way.judge(answer, lost.ledger, lost.before, uploads="media")
    assert len(lost.ledger.of("uploads")) > UPLOADS
    assert digest(target, MISAGO) == lost.rows
    assert_filled(target, lost.word)
    assert_told(answer)
    visit(Visitor.of(MISAGO, target))
    assert_copied_by_hook(target, answer)
    assert_followed(way)
    return answer


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
