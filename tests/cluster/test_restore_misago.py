"""misago is lost and comes back into another cluster: its Redis has no claim, and is filled once it runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import pytest

from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.lab import Lab
from tests.cluster.load.ledger import Ledger, read_ledger
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.smoke import Visitor, read_page, visit
from tests.cluster.system import MISAGO
from tests.cluster.under_load import protected
from tests.cluster.way_back import Answer, WayBack, lose

pytestmark = [pytest.mark.cluster, pytest.mark.lab, pytest.mark.long]

LOADED_S = 20
SETTLED_S = 60
KEYS = 2000
FILL = f"for i = 1, {KEYS} do redis.call('SET', 'kept:' .. i, ARGV[1]) end"


@dataclass(frozen=True)
class Lost:
    """misago, which is lost, the way back, and the ledger of what it had; before is what it had before the ledger.

    word is what each of many keys of its Redis held.
    """

    way: WayBack
    ledger: Ledger
    before: frozenset[str]
    word: str


@pytest.fixture(scope="module")
def lost(
    cluster: LabCluster, second_cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lost]:
    folder, word = tmp_path_factory.mktemp("lost"), uuid4().hex
    MISAGO.deploy(cluster)
    with protected(cluster, lab, MISAGO, folder) as scene:
        scene.wait_until_inside()
        scene.load.wait(LOADED_S)
        scene.load.stop()
        redis(cluster, "redis-0", "EVAL", FILL, "0", word)
        for volume in ("objects", "redis", "media"):
            scene.protection.run_now(volume)
        scene.wait(scene.is_followed, "all WAL is in the store", SETTLED_S)
        way = WayBack.of(scene.protection, second_cluster)
        scene.protection.stop()
        lose(cluster, MISAGO)
        yield Lost(way, read_ledger(folder / "ledger"), scene.before, word)
        MISAGO.remove(second_cluster)


def test_misago_comes_back_and_its_redis_has_what_it_had_though_it_has_no_claim(lost: Lost) -> None:
    answer = lost.way.restore()

    assert answer["restore"]["outcome"] == "restored"
    target = lost.way.target
    moments = {
        each["volume"]: datetime.fromisoformat(each["moment"]) for each in answer["restore"]["volumes"]
    }
    assert set(moments) == {"objects", "postgres", "redis", "media"}
    assert_complete(lost, moments)
    assert_filled(target, lost.word)
    assert_told(answer)
    visit(Visitor.of(MISAGO, target))
    style = read_page(MISAGO.site(target), "/static/standin/style.css").content
    assert b"font-family" in style


def assert_complete(lost: Lost, moments: dict[str, datetime]) -> None:
    """Assert that all is there that was acknowledged by the moments of the volumes."""
    found = lost.way.compare(lost.ledger, moments, uploads="media")
    for kind in ("posts", "uploads", "tasks"):
        each = found.of(kind)
        assert (each.missing, each.altered) == ((), ()), kind
        assert set(each.foreign) - lost.before == set(), kind
    assert found.of("posts").acknowledged > 0
    assert found.of("uploads").acknowledged > 0


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
