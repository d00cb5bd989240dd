"""`drtool doctor` on a real cluster: why nothing works is said plainly, and what it prints mends it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from drtool.cli.main import drtool
from tests.cluster.cluster import Cluster, LabCluster
from tests.cluster.images import IMAGES
from tests.cluster.process import wait_until

pytestmark = pytest.mark.cluster

IMAGE = IMAGES["base"].reference
SOON_S = 120
LABELS = {"app.kubernetes.io/part-of": "drtool", "app.kubernetes.io/name": "drtool"}
CAN_MOUNT = "ReadWriteOnce"
Found = list[dict[str, Any]]


class Ward:
    """A policy over one namespace, and doctor as a user of kubeconfig sees it."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        (folder / "store").mkdir()
        self.policy = folder / "policy.yaml"
        self.write([{"name": "media", "source": "files", "claim": "media"}])

    def write(self, volumes: list[dict[str, Any]], **more: Any) -> None:
        head = {"version": 1, "name": "ward", "kubernetes": {"namespace": self.namespace}}
        repository = {"url": f"file://{self.folder}/store", **more}
        objectives = {"rpo": "15m", "rto": "1h"}
        content = {**head, "repository": repository, "objectives": objectives, "volumes": volumes}
        self.policy.write_text(json.dumps(content))

    def run(self, *arguments: str, kubeconfig: Path | None = None) -> Result:
        environment = {
            "KUBECONFIG": str(kubeconfig or self.cluster.kubeconfig),
            "DRTOOL_POLICY": str(self.policy),
        }
        return CliRunner().invoke(drtool, ["doctor", "--dry-run", *arguments], env=environment)

    def findings(self, kubeconfig: Path | None = None) -> Found:
        """Return what is wrong in the cluster."""
        said = self.run("--json", kubeconfig=kubeconfig)
        found: Found = json.loads(said.stdout)["examination"]["findings"]
        return [each for each in found if each["area"] == "cluster" and each["level"] != "ok"]

    def about(self, about: str) -> dict[str, Any]:
        """Return the one thing that is wrong with an object, once it is."""
        wait_until(lambda: self._of(about), f"something is wrong with {about}", deadline_s=SOON_S)
        (found,) = self._of(about)
        return found

    def _of(self, about: str) -> Found:
        return [each for each in self.findings() if each["about"] == about]

    def is_well(self, about: str) -> None:
        wait_until(lambda: not self._of(about), f"nothing is wrong with {about}", deadline_s=SOON_S)

    def mend(self, found: dict[str, Any], stdin: str = "") -> None:
        """Run in a shell what a finding prints, as the administrator."""
        assert found["where"] == "shell"
        kubectl = Path(str(self.cluster._kubectl)).parent
        environment = {**os.environ, "PATH": f"{kubectl}:{os.environ['PATH']}"}
        environment["KUBECONFIG"] = str(self.cluster.kubeconfig)
        for statement in found["mend"]:
            subprocess.run(["sh", "-euc", statement], input=stdin, text=True, env=environment, check=True)

    def put(self, *objects: dict[str, Any]) -> None:
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.cluster.kubectl("apply", "--namespace", self.namespace, "--filename=-", stdin=items)


@pytest.fixture
def ward(cluster: Cluster, namespace: str, tmp_path: Path) -> Ward:
    return Ward(cluster, namespace, tmp_path)


def new(api: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": LABELS}, **rest}


def pod_spec(image: str = IMAGE, **container: Any) -> dict[str, Any]:
    main = {"name": "drtool", "image": image, "imagePullPolicy": "IfNotPresent"}
    command = {"command": ["sleep", "infinity"], **container}
    return {"containers": [{**main, **command}], "terminationGracePeriodSeconds": 0}


def test_a_namespace_that_is_not_there_is_made(cluster: Cluster, tmp_path: Path) -> None:
    ward = Ward(cluster, "doctor-makes-this", tmp_path)
    found = ward.about("doctor-makes-this")
    ward.mend(found)
    try:
        ward.is_well("doctor-makes-this")
    finally:
        cluster.kubectl("delete", "namespace", "doctor-makes-this", "--wait=false")


def test_each_secret_and_key_that_the_policy_names_is_asked_for(ward: Ward) -> None:
    keys = {name: {"secret": "drtool-s3", "key": name} for name in ("access.key", "secret_key")}
    ward.write([{"name": "cache", "source": "redis", "host": "r", "password": {"secret": "app", "key": "p"}}])
    volumes = json.loads(ward.policy.read_text())["volumes"]
    ward.write(volumes, writer=keys["access.key"])
    ward.mend(ward.about("Secret drtool-s3"), "first-value")
    ward.is_well("Secret drtool-s3")

    ward.write(volumes, writer=keys["secret_key"])
    found = ward.about("Secret drtool-s3")
    assert "has no key secret_key" in found["message"]
    ward.mend(found, "second-value")

    ward.is_well("Secret drtool-s3")
    ward.write(volumes, writer=keys["access.key"])
    ward.is_well("Secret drtool-s3")
    assert "there is no Secret app" in ward.about("Secret app")["message"]
    assert not any(value in ward.run("--json").stdout for value in ("first-value", "second-value"))


def claim(name: str, **spec: Any) -> dict[str, Any]:
    room = {"resources": {"requests": {"storage": "10Mi"}}, "accessModes": [CAN_MOUNT]}
    return new("v1", "PersistentVolumeClaim", name, spec={**room, **spec})


def test_a_claim_that_no_node_can_mount_is_told_with_its_reason(ward: Ward) -> None:
    names = ("absent", "homeless", "waiting", "tied", "single")
    ward.write([{"name": name, "source": "files", "claim": name} for name in names])
    gone = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-that-burnt"]}
    volume = new(
        "v1",
        "PersistentVolume",
        f"{ward.namespace}-tied",
        spec={
            "capacity": {"storage": "10Mi"},
            "accessModes": [CAN_MOUNT],
            "local": {"path": "/mnt"},
            "storageClassName": "by-hand",
            "claimRef": {"namespace": ward.namespace, "name": "tied"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [gone]}]}},
        },
    )
    one = {"storageClassName": "by-hand", "accessModes": ["ReadWriteOncePod"]}
    held = json.loads(json.dumps(volume).replace("-tied", "-single").replace('"tied"', '"single"'))
    held["spec"] |= {"accessModes": one["accessModes"]}
    ward.put(volume, held, claim("tied", storageClassName="by-hand", volumeName=f"{ward.namespace}-tied"))
    ward.put(claim("single", **one, volumeName=f"{ward.namespace}-single"))
    ward.put(claim("homeless", storageClassName="nobody-has-this"), claim("waiting"))
    try:
        expected = {
            "absent": "there is no claim",
            "homeless": "nobody-has-this",
            "waiting": "no pod has used it yet",
            "tied": "node-that-burnt",
            "single": "ReadWriteOncePod",
        }
        for name, text in expected.items():
            wait_until(
                lambda name=name, text=text: any(
                    text in each["message"] for each in ward._of(f"claim {name}")
                ),  # type: ignore[misc]
                f"claim {name}: {text}",
                deadline_s=SOON_S,
            )
        levels = {each["about"]: each["level"] for each in ward.findings()}
        assert [name for name in names if levels[f"claim {name}"] == "warning"] == ["waiting"]
    finally:
        ward.cluster.kubectl(
            "delete", "pv", f"{ward.namespace}-tied", f"{ward.namespace}-single", "--wait=false"
        )


def cron_job(name: str, **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": LABELS},
        "spec": {**pod_spec(command=["true"]), "restartPolicy": "Never"},
    }
    job = {"spec": {"template": template, "backoffLimit": 0}}
    return new("batch/v1", "CronJob", name, spec={"schedule": "0 0 1 1 *", "jobTemplate": job, **spec})


def test_a_cron_job_is_missing_suspended_or_gets_no_pod(ward: Ward) -> None:
    about = "CronJob drtool-backup-media"
    assert "there is no CronJob" in ward.about(about)["message"]
    ward.put(cron_job("drtool-backup-media", suspend=True))
    found = ward.about(about)
    assert "is suspended" in found["message"]
    ward.mend(found)
    ward.is_well(about)

    ward.put(new("v1", "ResourceQuota", "full", spec={"hard": {"pods": "0"}}))
    from_it = ("create", "job", "--from=cronjob/drtool-backup-media", "drtool-backup-media-1")
    ward.cluster.kubectl(*from_it, "--namespace", ward.namespace)

    found = ward.about(about)
    assert "exceeded quota" in found["message"]
    assert "ResourceQuota" in found["hint"]


def test_the_follower_is_missing_stopped_or_works(ward: Ward) -> None:
    ward.write([{"name": "db", "source": "postgres", "host": "db", "user": "u"}])
    about = "Deployment drtool-wal-follow-db"
    assert "there is no Deployment" in ward.about(about)["message"]
    template = {"metadata": {"labels": LABELS}, "spec": pod_spec()}
    spec = {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": template}
    ward.put(new("apps/v1", "Deployment", "drtool-wal-follow-db", spec=spec))
    ward.mend(ward.about(about))
    ward.is_well(about)


def test_a_follower_whose_pods_are_not_let_in_says_why(ward: Ward) -> None:
    ward.write([{"name": "db", "source": "postgres", "host": "db", "user": "u"}])
    template = {
        "metadata": {"labels": LABELS},
        "spec": {**pod_spec(), "serviceAccountName": "nobody-made-it"},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template}
    ward.put(new("apps/v1", "Deployment", "drtool-wal-follow-db", spec=spec))
    wait_until(
        lambda: any("nobody-made-it" in each["message"] for each in ward.findings()),
        "it is said",
        deadline_s=SOON_S,
    )
    assert "ServiceAccount" in ward.about("Deployment drtool-wal-follow-db")["hint"]


def test_a_pod_that_is_stuck_says_why_in_plain_words(ward: Ward) -> None:
    key = {"secretKeyRef": {"name": "not-there", "key": "k"}}
    mounted = {**pod_spec(), "volumes": [{"name": "v", "secret": {"secretName": "no-such-secret"}}]}
    mounted["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    pods = {
        "image": (pod_spec("127.0.0.1:1/no/such:image"), "its image cannot be pulled"),
        "config": (pod_spec(env=[{"name": "K", "valueFrom": key}]), "names something that is not there"),
        "mount": (mounted, "cannot mount a volume"),
        "room": ({**pod_spec(), "nodeSelector": {"no": "node"}}, "fits no node"),
        "crash": (pod_spec(command=["false"]), "ends again and again"),
        "well": (pod_spec(), ""),
    }
    ward.put(*(new("v1", "Pod", name, spec=spec) for name, (spec, _) in pods.items()))
    for name, (_, text) in pods.items():
        if text:
            wait_until(
                lambda name=name, text=text: any(  # type: ignore[misc]
                    f"pod {name} " in each["message"] and text in each["message"] for each in ward.findings()
                ),
                f"pod {name}: {text}",
                deadline_s=SOON_S,
            )
    assert all(each["hint"] for each in ward.findings() if each["about"] == "pods")
    assert not any("pod well " in each["message"] for each in ward.findings())


def test_a_recovery_key_in_a_secret_is_taken_out(ward: Ward) -> None:
    data = {"kit.txt": "DRTOOL-RECOVERY-AAAA", "other": "kept"}
    ward.put(new("v1", "Secret", "left-behind", stringData=data))
    found = ward.about("Secret left-behind")
    assert (found["level"], "holds a recovery key" in found["message"]) == ("error", True)
    ward.mend(found)
    ward.is_well("Secret left-behind")
    kept = ward.cluster.kubectl(
        "get", "secret", "left-behind", "-n", ward.namespace, "-o", "jsonpath={.data}"
    )
    assert list(json.loads(kept)) == ["other"]


@pytest.fixture
def somebody(cluster: Cluster) -> Path:
    """A user of the cluster who may do nothing yet."""
    assert isinstance(cluster, LabCluster)
    return cluster.control_plane.user("doctor-reader", "people")


@pytest.mark.lab
def test_the_rights_that_are_missing_are_granted_by_the_yaml(ward: Ward, somebody: Path) -> None:
    ward.write([{"name": "objects", "source": "manifests"}])
    assert any("not allowed to" in each["message"] for each in ward.findings(somebody))
    for kubeconfig in (somebody, None):
        said = ward.run("--rbac", kubeconfig=kubeconfig)
        assert said.exit_code == 5, said.output
        ward.cluster.kubectl("apply", "--filename=-", stdin=said.stdout)
        wait_until(  # for the API server reads by itself what is granted
            lambda who=kubeconfig: ward.run("--rbac", kubeconfig=who).exit_code == 0,  # type: ignore[misc]
            "the rights that were granted are there",
            deadline_s=SOON_S,
        )
        again = ward.run("--rbac", kubeconfig=kubeconfig)
        assert (again.exit_code, again.stdout) == (0, ""), again.output
    assert not any("not allowed to" in each["message"] for each in ward.findings(somebody))
    rights = json.loads(ward.run("--rbac", "--json", kubeconfig=somebody).stdout)["rights"]
    assert rights["asked"] == ["doctor-reader"]
    assert rights["unasked"] == [
        f"system:serviceaccount:{ward.namespace}:drtool-{duty}" for duty in ("backup", "manifests")
    ]
