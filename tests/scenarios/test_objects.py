"""A namespace's objects from the command line, out of an API server of the tests: backed up, changed, brought back."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drtool.operations.session import KeyFiles, Session, Silent, World, open_session
from drtool.repository.format.names import family
from drtool.repository.snapshot import Snapshot, read_snapshots
from tests.scenarios.commands import Commands, peak_of
from tests.sources.files.trees import clock
from tests.sources.kubernetes.api import Api
from tests.sources.kubernetes.shop import at, item, shop

MIB = 1024 * 1024
MANY, MOST = 10_000, 300 * MIB
SECRET, SECRET_NAME = b64encode(b"a telling content").decode(), "a-telling-name"


@dataclass(frozen=True)
class Objects:
    """A namespace, and the commands over it."""

    api: Api
    drtool: Commands

    def backup(self, code: int = 0) -> dict[str, Any]:
        [volume] = self.drtool("backup", code=code).value["volumes"]
        found: dict[str, Any] = volume
        return found

    def session(self) -> Session:
        world = World(clock, self.drtool.environment, Silent())
        return open_session(self.drtool.policy, None, KeyFiles(bundle=self.drtool.bundle), world)

    def points(self) -> list[Snapshot]:
        found = read_snapshots(self.session().repository.records, "objects")
        return [each for each in found if isinstance(each, Snapshot)]


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[Objects]:
    (tmp_path / "repository").mkdir()
    policy = {
        "version": 1,
        "name": "shop",
        "repository": {"url": f"file://{tmp_path}/repository"},
        "objectives": {"rpo": "15m", "rto": "1h"},
        "kubernetes": {"namespace": "shop"},
        "volumes": [{"name": "objects", "source": "manifests"}],
    }
    with shop() as api:
        api.collections[at("secrets")].append(item(SECRET_NAME, data={"password": SECRET}))
        environment = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
        drtool = Commands(tmp_path / "commands", policy, environment).written()
        drtool.init()
        yield Objects(api, drtool)


def config_maps(count: int, size: int = 4000) -> list[dict[str, Any]]:
    """Return objects as applications have them: no two of them alike, and hard to compress."""
    return [
        item(
            f"map-{number:05}",
            data={"text": "".join(f"{number * at_ * 2654435761:x}" for at_ in range(size // 12))},
        )
        for number in range(1, count + 1)
    ]


def read(directory: Path, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / path).read_text())
    return found


def test_objects_come_back_as_they_were_at_each_of_their_points(objects: Objects, tmp_path: Path) -> None:
    first = objects.backup()
    secret = objects.api.collections[at("secrets")][-1]
    secret["data"] = {"password": "bmV3"}
    secret["metadata"]["resourceVersion"] = "2"
    second = objects.backup()

    assert first["notes"] == []
    assert 0 < second["read"] < first["read"] / 10
    assert objects.backup()["read"] == 0
    said = objects.drtool.restore("objects", tmp_path / "new")
    assert read(tmp_path / "new", f"core/Secret/{SECRET_NAME}.json")["data"] == {"password": "bmV3"}
    assert said.value["restore"]["facts"]["counts"]["core/Secret"] == 2
    assert [proof["ok"] for proof in said.value["restore"]["proofs"]] == [True, True]
    objects.drtool.restore("objects", tmp_path / "old", "--at", objects.points()[0].end.isoformat())
    assert read(tmp_path / "old", f"core/Secret/{SECRET_NAME}.json")["data"] == {"password": SECRET}
    objects.drtool("verify", "--level", "L1")


def test_a_used_directory_is_refused_and_a_dry_run_writes_nothing(objects: Objects, tmp_path: Path) -> None:
    objects.backup()
    (tmp_path / "used").mkdir()
    (tmp_path / "used/mine").write_text("mine")

    assert "not empty" in objects.drtool.restore("objects", tmp_path / "used", code=5).error["message"]
    assert objects.drtool.restore("objects", tmp_path / "new", "--dry-run").value["restore"]["dry_run"]
    assert not (tmp_path / "new").exists()


def test_a_dry_run_finds_the_namespace_or_says_what_the_backup_would(
    objects: Objects, tmp_path: Path
) -> None:
    def planned(code: int = 0) -> dict[str, Any]:
        [volume] = objects.drtool("backup", "--dry-run", code=code).value["volumes"]
        found: dict[str, Any] = volume
        return found

    objects.backup()
    stored = sorted((tmp_path / "repository").rglob("*"))
    assert planned()["look"]["what"].startswith("namespace shop of Kubernetes v1.")
    [namespace] = objects.api.collections["/api/v1/namespaces"]
    namespace["metadata"]["uid"] = "another"
    refused = planned(5)["error"]
    assert "has the uid another" in refused["message"]
    assert sorted((tmp_path / "repository").rglob("*")) == stored
    assert objects.backup(5)["error"] == refused


def test_what_may_not_be_read_is_said_by_the_backup_and_by_the_restore(
    objects: Objects, tmp_path: Path
) -> None:
    objects.api.forbidden.add("/api/v1/persistentvolumes/pv-1")

    [note] = objects.backup()["notes"]

    assert note == "not captured, for it may not be read: core/PersistentVolume"
    assert note in objects.drtool.restore("objects", tmp_path / "new").value["restore"]["notes"]


def test_nothing_that_the_list_key_opens_holds_a_name_or_content_of_the_namespace(objects: Objects) -> None:
    objects.backup()
    objects.api.forbidden.add("/api/v1/namespaces/shop")
    objects.backup()
    session = objects.session()
    seen = set()
    for found in session.repository.store.list(""):
        kind = family(found.name)
        if kind in ("lists", "snap", "runs", "part"):
            value = session.repository.records.fetch_sealed(found.name)
            seen.add(kind)
            assert not [each for each in (SECRET_NAME, SECRET, "settings", "gear") if each.encode() in value]
    assert seen == {"lists", "snap", "runs"}


def test_a_point_without_any_object_restores(objects: Objects, tmp_path: Path) -> None:
    objects.api.collections[at("ingresses", "networking.k8s.io")] = []
    chosen = {**objects.drtool.content["volumes"][0], "include": ["Ingress"]}
    content = {**objects.drtool.content, "volumes": [chosen]}
    drtool = Commands(objects.drtool.directory, content, objects.drtool.environment).written()

    assert drtool("backup").value["volumes"][0]["read"] == 0
    said = drtool.restore("objects", tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    assert [proof["ok"] for proof in said.value["restore"]["proofs"]] == [True, True]


def test_another_cluster_s_namespace_does_not_get_into_the_repository(objects: Objects) -> None:
    objects.backup()
    objects.api.collections["/api/v1/namespaces"][0]["metadata"]["uid"] = "other"

    said = objects.drtool("backup", code=5)

    assert "has the uid other" in said.error["message"]
    assert len(objects.points()) == 1
    environment = {**objects.drtool.environment, "DRTOOL_NAMESPACE_UID": "other"}
    said = Commands(objects.drtool.directory, objects.drtool.content, environment)("backup")
    assert "is another than" in said.value["volumes"][0]["notes"][0]
    assert objects.backup()["notes"] == []


def test_a_large_secret_is_not_compared_by_content_and_comes_back(objects: Objects, tmp_path: Path) -> None:
    large = item("large", data={"blob": "A" * (3 * MIB // 2)})
    objects.api.collections[at("secrets")].append(large)
    objects.backup()
    large["metadata"]["resourceVersion"] = "2"

    assert objects.backup()["reused"] < MIB
    objects.drtool.restore("objects", tmp_path / "new")
    assert read(tmp_path / "new", "core/Secret/large.json")["data"] == large["data"]


def test_an_unchanged_namespace_costs_less_than_a_hundredth(objects: Objects) -> None:
    objects.api.collections[at("configmaps")] += config_maps(2000)
    first, second = objects.backup(), objects.backup()

    print(f"2,000 objects: {first['stored']:,} bytes stored, then {second['stored']:,}")
    assert second["read"] == 0
    assert second["stored"] < first["stored"] / 100


def test_memory_does_not_grow_with_the_namespace(objects: Objects) -> None:
    objects.api.collections[at("configmaps")] += config_maps(MANY)

    process = objects.drtool.start("backup")
    peak = peak_of(process)
    said = objects.drtool.end(process)

    assert said.code == 0, said.err
    [done] = said.value["volumes"]
    print(f"{MANY:,} objects of {done['read'] >> 20} MiB: at most {peak >> 20} MiB of memory")
    assert done["read"] > 30 * MIB
    assert 0 < peak < MOST


def test_an_api_server_that_is_away_for_a_while_is_waited_for(objects: Objects) -> None:
    objects.api.tell(503, {"Retry-After": "1"})
    objects.api.tell(503, {"Retry-After": "1"})

    assert objects.backup()["outcome"] == "done"


def test_a_token_that_expired_and_a_machine_without_a_cluster_are_told(
    objects: Objects, tmp_path: Path
) -> None:
    objects.api.tell(401, message="Unauthorized")
    objects.api.tell(401, message="Unauthorized")
    error = objects.drtool("backup", code=6).error
    assert "does not take our credentials" in error["message"]
    assert "log in again" in error["hint"]

    nowhere = Commands(
        objects.drtool.directory, objects.drtool.content, {"KUBECONFIG": str(tmp_path / "none")}
    )
    assert "no cluster is configured" in nowhere("backup", code=2).error["message"]
    assert objects.points() == []


def test_a_volume_whose_only_point_is_damaged_is_corrupt_and_the_object_is_named(
    objects: Objects, tmp_path: Path
) -> None:
    point = str(objects.backup()["point"])
    stored = tmp_path / "repository" / point
    damaged = bytearray(stored.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(damaged)
    said = objects.drtool.restore("objects", tmp_path / "restored", code=4)
    assert point in said.error["message"]
    assert not (tmp_path / "restored").exists()
