"""A cluster into which a system shall come back: an API server of the tests, in which another application lives."""

from collections.abc import Mapping

from click.testing import CliRunner

from drtool.cli.main import drtool as command
from tests.scenarios.commands import Said
from tests.sources.kubernetes.api import Api, Json
from tests.sources.kubernetes.shop import at, item, shop

CLASSES = at("storageclasses", "storage.k8s.io", namespaced=False)


def storage_class(name: str, provisioner: str = "driver") -> Json:
    found = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass"}
    return {**found, **item(name, provisioner=provisioner, metadata={"namespace": None})}


def put(api: Api, path: str, *objects: Json) -> None:
    """Have objects in a collection instead of those of the same names."""
    names = {each["metadata"]["name"] for each in objects}
    rest = [each for each in api.collections[path] if each["metadata"]["name"] not in names]
    api.collections[path] = [*rest, *objects]


def serve(
    api: Api,
    group: str,
    kind: str,
    plural: str,
    *objects: Json,
    namespaced: bool = False,
    version: str = "v1",
) -> str:
    """Have a kind more served, with these objects; return where they all are."""
    groups = api.answers["/apis"]["groups"]
    if f"/apis/{group}/{version}" not in api.answers:
        preferred = {"version": version}
        groups.append({"name": group, "preferredVersion": preferred, "versions": [preferred]})
    kinds = api.answers.setdefault(f"/apis/{group}/{version}", {"resources": []})["resources"]
    kinds.append({"name": plural, "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]})
    path = f"/apis/{group}/{version}/{plural}"
    api.collections[path] = list(objects)
    return path


def empty() -> Api:
    """Return a cluster with the same kinds, in which only another application lives."""
    api = shop()
    for path in list(api.collections):
        if "/namespaces/shop/" in path or path.endswith(
            ("clusterroles", "clusterrolebindings", "definitions", "configurations")
        ):
            api.collections[path] = []
    other = item("theirs", spec={"ports": [{"nodePort": 30080}]}, metadata={"namespace": "other"})
    api.collections["/api/v1/services"] = [other]
    system = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "kube-system", "uid": "uid-of-new"},
    }
    api.collections["/api/v1/namespaces"] = [system]
    api.collections["/api/v1/persistentvolumes"] = []
    put(api, CLASSES, storage_class("fast"), storage_class("mine"))
    return api


def run_plan(
    environment: Mapping[str, str | None],
    *arguments: object,
    code: int = 0,
    verb: tuple[str, ...] = ("plan",),
) -> Said:
    """Run `drtool plan`, or verb, against the cluster of environment's KUBECONFIG.

    What speaks against a plan is no error.
    """
    others = {"DRTOOL_POLICY": None, "DRTOOL_BUNDLE": None}
    found = CliRunner().invoke(
        command,
        [*verb, "--to-cluster", "here", *map(str, arguments)],
        prog_name="drtool",
        env={**others, **environment},
    )
    said = Said(found.exit_code, found.stdout, found.stderr)
    assert said.code == code, f"{said.code}\n{said.out}\n{said.err}"
    assert "Traceback" not in said.err
    return said
