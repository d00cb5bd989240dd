"""What `drtool render` writes is taken by a real API server, and its pods by Pod Security's restricted standard."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from drtool.operations.render import RenderOptions, run_render
from tests.cluster.cluster import Cluster
from tests.cluster.process import LabFailed

pytestmark = pytest.mark.cluster

OVERLAYS = sorted((Path(__file__).parents[2] / "k8s/overlays").iterdir())
SECRETS = ("drtool-s3/access_key", "drtool-s3/secret_key", "drtool-writer/bundle")
ENFORCE = "pod-security.kubernetes.io/enforce"


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> str:
    """A namespace that admits restricted pods only."""
    cluster.kubectl("label", "namespace", namespace, f"{ENFORCE}=restricted")
    return namespace


def objects(cluster: Cluster, overlay: Path, namespace: str, folder: Path) -> list[dict[str, Any]]:
    """Have the API server look at an overlay, as if it lay in namespace; return what it would store."""
    shutil.copytree(overlay, folder / "overlay")
    for name in SECRETS:
        (folder / "overlay/secrets" / name).parent.mkdir(exist_ok=True)
        (folder / "overlay/secrets" / name).write_text("secret")
    (folder / "kustomization.yaml").write_text(f"namespace: {namespace}\nresources: [overlay]\n")
    said = cluster.kubectl("apply", "--kustomize", folder, "--dry-run=server", "--output=json")
    items: list[dict[str, Any]] = json.loads(said)["items"]
    return items


def pods(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the templates of the pods that items would make, by the name of what makes them."""
    found = {}
    for item in items:
        if item["kind"] in ("CronJob", "Deployment"):
            spec = item["spec"].get("jobTemplate", item)["spec"]
            found[item["metadata"]["name"]] = spec["template"]
    return found


def admit(cluster: Cluster, name: str, template: dict[str, Any], namespace: str) -> None:
    """Have a pod looked at. It may not need its service account for that."""
    spec = {**template["spec"], "serviceAccountName": "default", "serviceAccount": "default"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": name},
        "spec": spec,
    }
    where = (f"--namespace={namespace}", "--filename=-", "--dry-run=server")
    cluster.kubectl("create", *where, stdin=json.dumps(pod))


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_is_accepted_and_every_pod_of_it_is_restricted(
    cluster: Cluster, restricted: str, overlay: Path, tmp_path: Path
) -> None:
    templates = pods(objects(cluster, overlay, restricted, tmp_path))

    assert len(templates) >= 5
    for name, template in templates.items():
        admit(cluster, name, template, restricted)


def test_a_mover_for_several_owners_needs_a_namespace_that_admits_baseline(
    cluster: Cluster, restricted: str, tmp_path: Path
) -> None:
    policy = (OVERLAYS[0].parents[2] / "policies/misago.yaml").read_text()
    assert "run_as: {user: 1000, group: 1000}" in policy
    (tmp_path / "policy.yaml").write_text(
        policy.replace("run_as: {user: 1000, group: 1000}", "pod_security: baseline")
    )
    run_render(tmp_path / "policy.yaml", tmp_path / "rendered", RenderOptions("drtool:1"))
    (tmp_path / "applied").mkdir()
    templates = pods(objects(cluster, tmp_path / "rendered", restricted, tmp_path / "applied"))
    mover = templates["drtool-backup-media"]

    with pytest.raises(LabFailed, match='violates PodSecurity "restricted'):
        admit(cluster, "mover", mover, restricted)

    cluster.kubectl("label", "namespace", restricted, f"{ENFORCE}=baseline", "--overwrite")
    admit(cluster, "mover", mover, restricted)
