"""The objects of a namespace, captured out of a real cluster by an account that has one Role in it, and no more."""

import json
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from kubernetes import client

from drtool.deploy.access import access
from drtool.deploy.names import MANIFESTS_ACCOUNT as ACCOUNT
from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy
from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.faults import killed
from tests.cluster.system import TINY
from tests.scenarios.commands import Commands, peak_of
from tests.scenarios.test_objects import MIB, MOST, config_maps, read

pytestmark = pytest.mark.cluster

OWN = {"app.kubernetes.io/part-of": "drtool"}
RBAC = "rbac.authorization.k8s.io"
MANY, AWAY_S = 2000, 20
GENERATED = {"Pod", "ReplicaSet", "Endpoints", "EndpointSlice", "ControllerRevision", "Event", "Lease"}
CLUSTER_ONLY = {f"{RBAC}/ClusterRoleBinding", "core/PersistentVolume", "storage.k8s.io/StorageClass"}


@dataclass(frozen=True)
class Objects:
    """A namespace, and the commands of an account of it."""

    cluster: Cluster
    namespace: str
    drtool: Commands

    def backup(self) -> dict[str, Any]:
        [volume] = self.drtool("backup").value["volumes"]
        found: dict[str, Any] = volume
        return found

    def get(self, what: str) -> Any:
        return json.loads(self.cluster.kubectl("get", what, f"--namespace={self.namespace}", "-o", "json"))


def account(cluster: Cluster, namespace: str, folder: Path, policy: Policy) -> Path:
    """Make the account that `drtool render` writes; return a kubeconfig that has nothing but its token.

    Who makes it administers the namespace and nothing beyond it: so the Role may hold no right more than theirs.
    """
    admin = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "team", "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "name": f"team-of-{namespace}"}],
    }
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(admin))
    made = [each for each in access(policy, namespace) if each["metadata"]["name"] == ACCOUNT]
    made.append(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "drtool-policy", "labels": OWN}}
    )
    whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    cluster.kubectl(
        "apply", f"--namespace={namespace}", f"--as=team-of-{namespace}", "--filename=-", stdin=whole
    )
    token = cluster.kubectl("create", "token", ACCOUNT, f"--namespace={namespace}").strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


def commands(cluster: Cluster, namespace: str, folder: Path) -> Objects:
    (folder / "repository").mkdir()
    policy = {
        "version": 1,
        "name": "objects",
        "repository": {"url": f"file://{folder}/repository"},
        "objectives": {"rpo": "15m", "rto": "1h"},
        "kubernetes": {"namespace": namespace},
        "volumes": [{"name": "objects", "source": "manifests"}],
    }
    parsed = parse_policy(json.dumps(policy), "policy")
    environment = {"KUBECONFIG": str(account(cluster, namespace, folder, parsed))}
    drtool = Commands(folder / "commands", policy, environment).written()
    drtool.init()
    return Objects(cluster, namespace, drtool)


@pytest.fixture(scope="module")
def tiny(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Objects]:
    TINY.deploy(cluster)
    yield commands(cluster, TINY.namespace, tmp_path_factory.mktemp("tiny"))
    TINY.remove(cluster)


@pytest.fixture
def objects(cluster: Cluster, namespace: str, tmp_path: Path) -> Objects:
    return commands(cluster, namespace, tmp_path)


def fill(objects: Objects) -> None:
    """Make many ConfigMaps."""
    core = client.CoreV1Api(objects.cluster.api)
    bodies = [
        {"metadata": {"name": each["metadata"]["name"]}, "data": each["data"]} for each in config_maps(MANY)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda body: core.create_namespaced_config_map(objects.namespace, body), bodies))


def test_a_system_is_captured_by_an_account_that_sees_its_namespace_alone(
    tiny: Objects, tmp_path: Path
) -> None:
    done = tiny.backup()
    said = tiny.drtool.restore("objects", tmp_path / "new")

    found = {str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*.json")}
    print("\n".join([*sorted(found), *done["notes"]]))
    assert {
        "apps/Deployment/app.json",
        "core/PersistentVolumeClaim/files.json",
        "core/Namespace/tiny.json",
        "core/Secret/app-secrets.json",
        "core/Secret/postgres-secrets.json",
        "core/ServiceAccount/default.json",
    } <= found
    assert not {path.split("/")[1] for path in found} & GENERATED
    assert not [path for path in found if "drtool" in path or "kube-root-ca" in path]
    [note] = done["notes"]
    assert all(kind in note for kind in CLUSTER_ONLY)
    assert "Secret" not in note
    assert [proof["ok"] for proof in said.value["restore"]["proofs"]] == [True, True]


def test_every_secret_and_every_workload_comes_back_to_the_byte(tiny: Objects, tmp_path: Path) -> None:
    tiny.backup()
    tiny.drtool.restore("objects", tmp_path / "new")

    for what, folder in (
        ("secrets", "core/Secret"),
        ("deployments", "apps/Deployment"),
        ("statefulsets", "apps/StatefulSet"),
    ):
        there = {each["metadata"]["name"]: each for each in tiny.get(what)["items"]}
        assert there
        for name, each in there.items():
            each["metadata"].pop("managedFields", None)
            kept = read(tmp_path / "new", f"{folder}/{name}.json")
            assert {**kept, "status": None} == {**each, "status": None}
    secret = read(tmp_path / "new", "core/Secret/app-secrets.json")
    assert secret["data"]["SUPERUSER_PASSWORD"] == b64encode(b"tiny-admin-password").decode()


def test_an_unchanged_namespace_costs_next_to_nothing_and_memory_stays_small(objects: Objects) -> None:
    fill(objects)

    process = objects.drtool.start("backup")
    peak = peak_of(process)
    [first] = objects.drtool.end(process).value["volumes"]
    second = objects.backup()

    print(
        f"{MANY:,} objects: {first['stored']:,} bytes stored, then {second['stored']:,}; {peak >> 20} MiB of memory"
    )
    assert first["read"] > 4 * MIB
    assert second["read"] == 0
    assert second["stored"] < first["stored"] / 100
    assert peak < MOST


def test_what_the_role_lacks_is_noted_and_without_any_right_the_backup_fails(objects: Objects) -> None:
    role = objects.get(f"role/{ACCOUNT}")
    for rule in role["rules"]:
        rule["resources"] = [each for each in rule["resources"] if each != "secrets"]
    objects.cluster.kubectl("replace", "--filename=-", stdin=json.dumps(role))

    [note] = objects.backup()["notes"]
    assert "core/Secret" in note

    objects.cluster.kubectl("delete", "rolebinding", ACCOUNT, f"--namespace={objects.namespace}")
    error = objects.drtool("backup", code=6).error
    assert f"nothing in namespace {objects.namespace} may be read" in error["message"]


@pytest.mark.lab
def test_an_api_server_that_is_gone_for_a_while_is_waited_for(objects: Objects, cluster: LabCluster) -> None:
    with killed(cluster.control_plane.apiserver):
        process = objects.drtool.start("backup")
        Event().wait(AWAY_S)
        assert process.poll() is None
    said = objects.drtool.end(process)

    assert said.code == 0, said.err
