"""A system that comes back as its team deploys it, not as it was captured: from the command line, and compared."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from drtool.operations.cluster_restore.replay import RUN_LABEL
from tests.scenarios.shop_lost import UID, Way, shop_lost
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import well
from tests.sources.kubernetes.shop import at

DEPLOYMENTS = at("deployments", "apps")


def deployment(name: str, replicas: int = 3, image: str = "web:2") -> Json:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


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
    with shop_lost(tmp_path, recovery={"deploy": {"kustomize": str(program.parent)}}) as way:
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
