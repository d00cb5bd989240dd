"""One volume of a shop that runs is to go back: planned from the command line, against an API server of the tests."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import S3Server
from tests.scenarios.commands import Commands, Said, s3_keys
from tests.scenarios.shop_kept import CLAIMS, shop_kept
from tests.scenarios.targets import empty, put, run_plan, serve
from tests.sources.kubernetes.api import Api, Json
from tests.sources.kubernetes.shop import at, item

VOLUMES = at("persistentvolumes", namespaced=False)
USES = [{"name": "data", "persistentVolumeClaim": {"claimName": "media"}}]


def running() -> Api:
    """Return a cluster in which the shop runs, with its pod on its claim."""
    api = empty()
    requests = {"resources": {"requests": {"storage": "1Gi"}}}
    claim = item("media", spec={"storageClassName": "fast", "volumeName": "pv-1", **requests})
    put(api, CLAIMS, {**claim, "status": {"phase": "Bound"}})
    reference = {"namespace": "shop", "name": "media"}
    api.collections[VOLUMES] = [item("pv-1", spec={"claimRef": reference}), item("pv-2", spec={})]
    pod = {"containers": [{"name": "web", "image": "web:1"}], "volumes": USES}
    put(api, at("deployments", "apps"), item("web", spec={"replicas": 2, "template": {"spec": pod}}))
    owner: Json = {"kind": "Deployment", "name": "web", "controller": True}
    put(api, at("replicasets", "apps"), item("web-1", metadata={"ownerReferences": [owner]}))
    owner = {"kind": "ReplicaSet", "name": "web-1", "controller": True}
    used = item("web-1-x", spec={"volumes": USES}, metadata={"ownerReferences": [owner]})
    put(api, at("pods"), {**used, "status": {"phase": "Running"}})
    return api


@pytest.fixture
def target() -> Api:
    return running()


@pytest.fixture
def shop(
    tmp_path: Path, s3_server: S3Server, target: Api, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Commands, str]]:
    s3 = s3_server.at(s3_server.plain)
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3_keys(s3).values(), strict=True):
        monkeypatch.setenv(name, value)
    drtool = shop_kept(tmp_path, "song.ogg", s3=s3)
    with target:
        (tmp_path / "new").mkdir()
        yield drtool, str(target.kubeconfig(tmp_path / "new"))


def plan(shop: tuple[Commands, str], *arguments: str, code: int = 0) -> Said:
    drtool, kubeconfig = shop
    keys = {"KUBECONFIG": kubeconfig, "DRTOOL_RECOVERY_KEY_FILE": str(drtool.kit)}
    repository = drtool.content["repository"]
    where = ("--repository", repository["url"], "--endpoint", repository["endpoint"])
    return run_plan({**drtool.environment, **keys}, *where, *arguments, code=code)


def test_what_is_in_use_is_refused_without_the_word_and_told_of_it(shop: tuple[Commands, str]) -> None:
    said = plan(shop, "media", code=5)
    assert "error: claim media is in use by web-1-x" in said.out
    assert "--in-place" in said.out


def test_with_it_nothing_but_the_volume_is_planned(shop: tuple[Commands, str]) -> None:
    found = plan(shop, "media", "--in-place", "--json").value["plan"]

    assert found["refusals"] == []
    assert found["changes"] == []
    assert [step["id"] for phase in found["plan"]["phases"] for step in phase["steps"]] == [
        *("safety backup media", "apply core/PersistentVolumeClaim", "restore media", "prove media"),
        *("switch volumes", "start again"),
    ]
    assert [each["claim"] for each in found["plan"]["in_place"]] == ["media"]
    assert plan(shop, "media", "--in-place").out.count("Deployment web: it is stopped for the switch") == 1


def test_a_claim_that_the_target_does_not_let_in_is_refused(shop: tuple[Commands, str], target: Api) -> None:
    target.collections["/api/v1/namespaces"].append({"metadata": {"name": "shop"}})
    target.tries = lambda sent: (
        (403, "exceeded quota: small") if sent["kind"] == "PersistentVolumeClaim" else None
    )

    said = plan(shop, "media", "--in-place", code=5).out

    assert re.search(
        r"error: PersistentVolumeClaim shop/\S+ is refused by the target: exceeded quota: small", said
    )
    assert "hint: Raise the quota that is named" in said


def test_what_flux_keeps_is_refused_until_it_is_paused(shop: tuple[Commands, str], target: Api) -> None:
    group, kind = "kustomize.toolkit.fluxcd.io", "Kustomization"
    apps = item("apps", spec={"suspend": False}, metadata={"namespace": "flux-system"})
    path = serve(target, group, kind, "kustomizations", apps, namespaced=True)
    for each in (*target.collections[CLAIMS], *target.collections[at("deployments", "apps")]):
        each["metadata"]["labels"] = {f"{group}/name": "apps", f"{group}/namespace": "flux-system"}

    said = plan(shop, "media", "--in-place", code=5).out
    assert "Kustomization apps keeps Deployment web, PersistentVolumeClaim media, and would" in said
    assert "--namespace=flux-system patch kustomizations.kustomize.toolkit.fluxcd.io apps" in said
    assert "`kubectl --context=" in said
    apps["spec"]["suspend"] = True
    assert "Kustomization apps is paused: let it go on" in plan(shop, "media", "--in-place").out
    target.forbidden.add(path)
    hidden = plan(shop, "media", "--in-place").out
    assert "Flux: you may not list its Kustomizations" in hidden
    assert "Deployment web is marked as kept by Kustomization flux-system/apps" in hidden


def test_the_objects_do_not_come_back_in_place(shop: tuple[Commands, str]) -> None:
    said = plan(shop, "objects", "--in-place", code=5)
    assert (
        "error: volume objects is of source manifests, and in place come PostgreSQL, Redis and files"
        in said.out
    )


def test_without_a_volume_nobody_knows_what_is_to_go_back(shop: tuple[Commands, str]) -> None:
    assert "none is named" in plan(shop, "--in-place", code=2).err
