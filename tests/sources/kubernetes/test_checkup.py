"""A look at a namespace, where the order of things decides: which run was last, whose pod it is, who holds up whom."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drtool.sources.base import Json, Symptom
from drtool.sources.kubernetes.checkup import Checkup, Wanted, kubectl
from drtool.sources.kubernetes.client import Cluster
from tests.sources.kubernetes.api import Api

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CRON_JOBS = "/apis/batch/v1/namespaces/shop/cronjobs"
PODS, EVENTS = "/api/v1/namespaces/shop/pods", "/api/v1/namespaces/shop/events"
LABELS = {"app.kubernetes.io/part-of": "drtool", "app.kubernetes.io/component": "backup"}


@pytest.fixture
def api() -> Iterator[Api]:
    namespaces = [{"metadata": {"name": "shop"}}]
    with Api({"/api/v1/namespaces": namespaces, CRON_JOBS: [], PODS: [], EVENTS: []}) as serving:
        serving.answers["/version"] = {"gitVersion": "v1.34.4"}
        yield serving


def look(api: Api, folder: Path, *cron_jobs: str, context: str | None = None) -> dict[str, list[Symptom]]:
    """Return what was found wrong, by what it is about."""
    found: dict[str, list[Symptom]] = {}
    with Cluster.open("here", {"KUBECONFIG": str(api.kubeconfig(folder))}, patience_s=2) as cluster:
        for about, symptom in Checkup(cluster, "shop", Wanted(cron_jobs=cron_jobs), NOW, context):
            if symptom.level != "ok":
                found.setdefault(about, []).append(symptom)
    return found


def cron_job(name: str, **status: Any) -> Json:
    return {"metadata": {"name": name}, "spec": {}, "status": status}


def refused(job: str) -> Json:
    event = {"reason": "FailedCreate", "message": "exceeded quota", "metadata": {"name": f"{job}.1"}}
    return {**event, "involvedObject": {"kind": "Job", "name": job}, "lastTimestamp": "2026-01-31T11:00:00Z"}


def pod(name: str, phase: str, volume: str = "a", **metadata: Any) -> Json:
    labels = {**LABELS, "drtool.io/volume": volume}
    owners = [{"kind": "Job", "name": f"drtool-backup-{volume}-1"}]
    made = {"labels": labels, "ownerReferences": owners, "creationTimestamp": "2026-01-31T10:00:00Z"}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", **made, **metadata},
        "spec": {"nodeName": "n1"},
        "status": {"phase": phase},
    }


def test_a_cron_job_that_never_ended_well_is_not_ok_while_one_is_under_way(api: Api, tmp_path: Path) -> None:
    active = [{"name": "drtool-backup-a-7"}]
    job = cron_job("drtool-backup-a", lastScheduleTime="2026-01-31T11:00:00Z", active=active)
    api.collections[CRON_JOBS] = [job]
    [found] = look(api, tmp_path, "drtool-backup-a")["CronJob drtool-backup-a"]
    assert found.level == "warning"
    assert found.message.endswith("has never ended well; Job drtool-backup-a-7 is under way")
    job["status"]["lastSuccessfulTime"] = "2026-01-31T10:00:00Z"
    assert look(api, tmp_path, "drtool-backup-a") == {}
    del job["status"]["active"]
    [found] = look(api, tmp_path, "drtool-backup-a")["CronJob drtool-backup-a"]
    assert "failed the last time" in found.message


def test_a_pod_that_was_refused_is_said_of_its_own_volume_alone(api: Api, tmp_path: Path) -> None:
    names = ("drtool-backup-a", "drtool-backup-a-b")
    api.collections |= {CRON_JOBS: [cron_job(name) for name in names], EVENTS: [refused(f"{names[1]}-29")]}
    said = look(api, tmp_path, *names)
    assert list(said) == ["CronJob drtool-backup-a-b"]
    assert said["CronJob drtool-backup-a-b"][0].mend == (
        "kubectl --namespace=shop delete job drtool-backup-a-b-29",
    )


def test_a_job_whose_pod_cannot_start_is_named_with_what_removes_it(api: Api, tmp_path: Path) -> None:
    stuck = pod("drtool-backup-a-1-x", "Pending")
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    stuck["status"]["containerStatuses"] = [waiting]
    api.collections[PODS] = [stuck]
    [found] = look(api, tmp_path, context="my cluster")["pods"]
    assert found.mend == ("kubectl --context='my cluster' --namespace=shop delete job drtool-backup-a-1",)
    assert found.where == "shell, once it is mended"
    assert "no other run of its volume begins" in found.hint
    del stuck["metadata"]["ownerReferences"]
    assert look(api, tmp_path)["pods"][0].mend == ()


def test_a_pod_of_a_dead_node_is_named_with_what_ends_it_by_force_and_a_warning(
    api: Api, tmp_path: Path
) -> None:
    stuck = pod("drtool-backup-a-1-x", "Running", deletionTimestamp="2026-01-31T11:58:00Z")
    api.collections[PODS] = [stuck]
    [found] = look(api, tmp_path)["pods"]
    assert found.level == "error"
    assert "its node n1 does not answer" in found.message
    assert found.mend == ("kubectl --namespace=shop delete pod drtool-backup-a-1-x --force --grace-period=0",)
    assert "only when n1 is really off" in found.hint
    assert found.where == "shell, only when n1 is really off"
    stuck["metadata"]["deletionTimestamp"] = "2026-01-31T11:59:30Z"
    assert look(api, tmp_path) == {}


@pytest.mark.parametrize(
    ("other", "wrong"),
    [
        (pod("later", "Succeeded", creationTimestamp="2026-01-31T11:00:00Z"), set()),
        (pod("earlier", "Succeeded", creationTimestamp="2026-01-31T09:00:00Z"), {"pods"}),
        (pod("running", "Running", creationTimestamp="2026-01-31T11:00:00Z"), {"pods"}),
        (pod("of-another", "Succeeded", "a-b", creationTimestamp="2026-01-31T11:00:00Z"), {"pods"}),
    ],
)
def test_a_pod_that_failed_is_no_error_once_a_later_run_of_its_volume_ended_well(
    api: Api, tmp_path: Path, other: Json, wrong: set[str]
) -> None:
    failed = pod("drtool-backup-a-1-x", "Failed")
    failed["status"] |= {"reason": "Evicted", "message": "low on memory"}
    api.collections[PODS] = [failed, other]
    assert look(api, tmp_path).keys() == wrong


def test_what_is_printed_reaches_the_cluster_that_was_looked_at(api: Api, tmp_path: Path) -> None:
    assert kubectl(None) == "kubectl"
    assert kubectl("here") == "kubectl --context=here"
    api.collections["/api/v1/namespaces"] = []
    [found] = look(api, tmp_path, context="here")["shop"]
    assert found.mend == ("kubectl --context=here create namespace shop",)


@pytest.mark.parametrize(
    ("uid", "said"), [("uid-earlier", "no volume fits it"), ("uid-data", "no such class")]
)
def test_a_claim_is_judged_by_its_own_events_not_those_of_an_earlier_one(
    api: Api, tmp_path: Path, uid: str, said: str
) -> None:
    claim = {"metadata": {"name": "data", "uid": "uid-data"}, "spec": {}, "status": {"phase": "Pending"}}
    api.answers["/api/v1/namespaces/shop/persistentvolumeclaims/data"] = claim
    involved = {"kind": "PersistentVolumeClaim", "name": "data", "uid": uid}
    event = {"metadata": {"name": "data.1"}, "involvedObject": involved, "message": "no such class"}
    api.collections[EVENTS] = [{**event, "lastTimestamp": "2026-01-31T11:00:00Z"}]
    with Cluster.open("here", {"KUBECONFIG": str(api.kubeconfig(tmp_path))}, patience_s=2) as cluster:
        found = [each for _, each in Checkup(cluster, "shop", Wanted(claims=("data",)), NOW, None)]
    assert any(each.message.endswith(said) for each in found)
