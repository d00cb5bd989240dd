"""`drtool restore --in-place` on a real cluster: one volume of tiny goes back to before a mistake; the rest runs on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.cluster import LabCluster
from tests.cluster.lab import Lab
from tests.cluster.observe import execute
from tests.cluster.protection import write_secret
from tests.cluster.smoke import Visitor, visit
from tests.cluster.system import TINY
from tests.cluster.test_restore import PSQL
from tests.cluster.under_load import Scene, protected
from tests.cluster.way_back import IMAGE, LATER, Answer, WayBack, inventory

pytestmark = [pytest.mark.cluster, pytest.mark.lab, pytest.mark.long]

LOADED_S = 20
FOLLOWED_S = 60
FILLED = 7  # entries after which the new volume is filled, and nothing was switched
# What goes on by itself, or is of drtool's own making.
PASSING = (
    "Pod/",
    "PodMetrics/",
    "ControllerRevision/",
    "ReplicaSet/",
    "Event/",
    "Lease/",
    "Node/",
    "VolumeAttachment/",
)


@dataclass(frozen=True)
class Mistaken:
    """tiny under load, where a table was dropped just after mistake."""

    scene: Scene
    way: WayBack
    mistake: datetime

    def rows(self) -> str:
        sql = "select count(*) from precious"
        return execute(self.way.target, "postgres-0", *PSQL, sql, namespace="tiny").strip()

    def pods(self) -> dict[str, str]:
        """Return the pods of the application that are no PostgreSQL, with their uids, which no other pod has."""
        found = self.scene.protection.kubectl(
            "get", "pods", "--selector=app in (app, redis)", "--output=json"
        )
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in json.loads(found)["items"]}

    def objects(self) -> dict[str, Answer]:
        """Return what the application has, and the cluster around it."""
        found = inventory(self.way.target, TINY.namespace)
        return {
            name: each
            for name, each in found.items()
            if not name.startswith(PASSING) and "drtool" not in name and "now-" not in name
        }


@pytest.fixture(scope="module")
def mistaken(cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mistaken]:
    folder = tmp_path_factory.mktemp("mistaken")
    TINY.deploy(cluster)
    with protected(cluster, lab, TINY, folder) as scene:
        scene.wait_until_inside()
        scene.load.wait(LOADED_S)
        create = "create table precious as select generate_series(1, 1000) as id"
        execute(cluster, "postgres-0", *PSQL, create, namespace="tiny")
        mistake = datetime.now(UTC)
        execute(cluster, "postgres-0", *PSQL, "drop table precious", namespace="tiny")
        scene.load.wait(5)
        scene.load.stop()
        scene.wait(
            lambda: scene.oracle.newest("postgres") > mistake,
            "the WAL of the mistake is in the store",
            FOLLOWED_S,
        )
        yield Mistaken(scene, WayBack(scene.protection, cluster), mistake)


def reader_of(claim: str) -> str:
    """Return a pod that is to mount a claim, and that nobody ever starts."""
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec = {
        "schedulingGates": [{"name": "drtool.io/never"}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{"name": "reader", "image": IMAGE, "securityContext": secure}],
        "volumes": [volume],
    }
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader"}, "spec": spec})


def test_a_run_that_was_killed_before_the_switch_is_undone_and_the_cluster_is_as_it_was(
    mistaken: Mistaken, tmp_path: Path
) -> None:
    way, before, kubectl = mistaken.way, mistaken.objects(), mistaken.scene.protection.kubectl
    arguments = ("--in-place", "postgres", "--at", mistaken.mistake.isoformat(), "--image", IMAGE, *LATER)
    run, _ = way.killed_after(FILLED, tmp_path, *arguments)
    uid = ("get", "pod", "postgres-0", "--output=jsonpath={.metadata.uid}")
    server = kubectl(*uid)

    kubectl("apply", "--filename=-", stdin=reader_of("data-postgres-0"))
    refused = way.run("--resume", run, "--confirm-target", way.uid, code=1)
    kubectl("delete", "pod", "reader")
    assert "pod reader uses a claim that is switched" in refused["error"]["message"]
    assert kubectl(*uid) == server  # nothing was stopped

    undone = way.run("--abort", run, "--confirm-target", way.uid)["restore"]

    assert undone["outcome"] == "aborted"
    assert mistaken.objects() == before
    visit(Visitor.of(TINY, way.target))


def test_a_table_that_was_dropped_is_back_and_nothing_else_is_touched(
    mistaken: Mistaken, tmp_path: Path
) -> None:
    way = mistaken.way
    write_secret(tmp_path / "drtool-s3", way.protection.writer_secret())
    enrol = ("--admin-key-file", f"{way.protection.kit}.admin", "--writer-secrets", tmp_path)
    before, pods = mistaken.objects(), mistaken.pods()

    answer = way.restore("--in-place", "postgres", "--at", mistaken.mistake.isoformat(), *enrol)["restore"]

    assert answer["outcome"] == "restored"
    assert mistaken.rows() == "1000"
    assert mistaken.pods() == pods != {}
    visit(Visitor.of(TINY, way.target))
    after = mistaken.objects()
    claim = "PersistentVolumeClaim/data-postgres-0"
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        claim,
        f"PersistentVolume/{before[claim]['spec']['volumeName']}",
        f"PersistentVolume/{after[claim]['spec']['volumeName']}",
    }
    old = after[f"PersistentVolume/{before[claim]['spec']['volumeName']}"]
    assert old["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert [note for note in answer["notes"] if old["metadata"]["name"] in note]
    assert {each["volume"] for each in answer["volumes"]} == {"postgres"}
    refused = way.run("--abort", answer["run"], "--confirm-target", way.uid, code=5)
    assert "has ended" in refused["error"]["message"]
