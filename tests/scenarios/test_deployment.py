"""A system that comes back as its team deploys it, not as it was captured: from the command line, and compared."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from drtool.operations.cluster_restore.replay import RUN_LABEL
from tests.scenarios.shop_lost import UID, Way, shop_lost
from tests.scenarios.targets import serve
from tests.sources.kubernetes.api import Api, Json
from tests.sources.kubernetes.living import well
from tests.sources.kubernetes.shop import HOOKS, at, hooks

DEPLOYMENTS = at("deployments", "apps")
REFUSING = at("validatingwebhookconfigurations", HOOKS, namespaced=False)
AUTOSCALERS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"


def plant(api: Api) -> None:
    """Have two webhooks in the captured cluster."""
    api.collections[REFUSING] = [hooks(name, "shop", failurePolicy="Fail") for name in ("gate", "door")]


def deployment(name: str, replicas: int = 3, image: str = "web:2") -> Json:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def autoscaler(api_version: str) -> Json:
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    spec = {"minReplicas": 2, "maxReplicas": 4, "metrics": [{"type": "Resource", "resource": metric}]}
    kind = "HorizontalPodAutoscaler"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "web"}, "spec": spec}


def renders(folder: Path, *objects: Json) -> None:
    """Have kubectl render these objects."""
    (folder / "rendered").write_text("\n".join(map(json.dumps, objects)))


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat '{tmp_path}/rendered'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    with shop_lost(tmp_path, plant, recovery={"deploy": {"kustomize": str(program.parent)}}) as way:
        yield way


def test_the_deployment_waits_for_its_data_and_is_compared_with_what_was_captured(
    way: Way, tmp_path: Path
) -> None:
    renders(tmp_path, deployment("web"), deployment("worker", 1))
    seen: list[int] = []

    def note(item: Json) -> Json:
        if item["kind"] == "Deployment" and item["metadata"]["name"] == "web":
            seen.append(item["spec"]["replicas"])
        return well(item)

    way.target.becomes = note
    found = way.restore()["restore"]

    assert (seen[0], seen[-1]) == (0, 3)
    web = way.target.find(DEPLOYMENTS, "web")
    assert web is not None
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    assert web["metadata"]["labels"][RUN_LABEL] == found["run"]
    secret = way.target.find(at("secrets"), "password")
    assert secret is not None  # the capture's
    notes = found["notes"]
    assert "apps/Deployment/worker: is deployed, and was not captured" in notes
    assert [
        each for each in notes if each.endswith(": was captured, and is not deployed") and "Service" in each
    ]
    [differs] = [each for each in notes if each.startswith("apps/Deployment/web: differs")]
    assert "spec.replicas" in differs
    assert "image" in differs


def test_a_webhook_of_the_deployment_is_compared_though_it_comes_last(way: Way, tmp_path: Path) -> None:
    kind = {"apiVersion": f"{HOOKS}/v1", "kind": "ValidatingWebhookConfiguration"}
    webhooks = hooks("gate", "shop", failurePolicy="Ignore")["webhooks"]
    renders(tmp_path, deployment("web"), {**kind, "metadata": {"name": "gate"}, "webhooks": webhooks})

    notes = way.restore()["restore"]["notes"]

    assert way.target.written[-1] == f"{REFUSING}/gate"
    name = f"{HOOKS}/ValidatingWebhookConfiguration"
    assert f"{name}/door: was captured, and is not deployed" in notes
    assert [each for each in notes if each.startswith(f"{name}/gate: ")] == [
        f"{name}/gate: differs from what was captured: webhooks[0].failurePolicy"
    ]


def test_an_api_of_the_deployment_that_is_not_served_any_more_is_converted(way: Way, tmp_path: Path) -> None:
    kind = ("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
    serve(way.target, *kind, namespaced=True, version="v2")
    way.target.collections[AUTOSCALERS] = []
    old = autoscaler("autoscaling/v2beta2")
    renders(tmp_path, deployment("web"), old)

    found = way.restore()["restore"]

    new = way.target.find(AUTOSCALERS, "web")
    assert new is not None
    assert (new["apiVersion"], new["spec"]) == ("autoscaling/v2", old["spec"])
    assert "HorizontalPodAutoscaler web: autoscaling/v2beta2 becomes autoscaling/v2" in found["notes"]
    order = [each.rpartition("/")[0].rpartition("/")[2] for each in way.target.written]
    last = len(order) - 1 - order[::-1].index("deployments")
    assert order.index("horizontalpodautoscalers") > last  # else it would scale what still waits


def test_every_api_of_the_deployment_that_nothing_served_takes_the_place_of_is_refused_by_name(
    way: Way, tmp_path: Path
) -> None:
    kind = ("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
    serve(way.target, *kind, namespaced=True, version="v2")
    metadata = {"name": "web"}
    ingress = {"apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": metadata, "spec": {}}
    renders(tmp_path, deployment("web"), autoscaler("autoscaling/v2beta1"), ingress)

    refusals = way.restore(code=5)["plan"]["refusals"]

    said = {each["about"]: each["message"] for each in refusals}
    assert said == {
        "HorizontalPodAutoscaler web": "is of autoscaling/v2beta1, and the target serves v2 only, of another shape",
        "Ingress web": "is of extensions/v1beta1, and the target serves no such kind",
    }
    assert not way.target.written


def test_who_goes_on_deploys_what_was_confirmed(way: Way, tmp_path: Path) -> None:
    renders(tmp_path, deployment("web"))
    way.target.refuses = lambda _method, item: (403, "not now") if item.get("kind") == "Deployment" else None
    way.restore(code=6)
    [record] = [copy.stem for copy in (way.state / "drtool/runs").iterdir()]
    way.target.refuses = lambda _method, _item: None
    renders(tmp_path, deployment("web", 7, "evil:1"))

    found = way("--resume", record, "--confirm-target", UID).value["restore"]

    web = way.target.find(DEPLOYMENTS, "web")
    assert web is not None
    assert web["spec"]["replicas"] == 3
    assert found["outcome"] == "restored"


def test_the_captured_manifests_come_back_where_the_folder_is_lost(way: Way, tmp_path: Path) -> None:
    (tmp_path / "rendered").unlink(missing_ok=True)
    error = way.restore(code=5)["error"]
    assert "cannot be rendered: " in error["message"]
    assert "--as-captured" in error["hint"]
    assert not way.target.written

    found = way.restore("--as-captured")["restore"]

    web = way.target.find(DEPLOYMENTS, "web")
    assert web is not None
    assert web["spec"]["replicas"] == 2
    assert not [each for each in found["notes"] if "deployed" in each]
