"""What came to use claims since a plan was made; and who scaled a workload."""

from drtool.recovery.manifests.objects import Json
from drtool.recovery.unstopped import scaled_by, unstopped
from tests.recovery.captured import captured, workload
from tests.recovery.test_in_place import STANDING, cron_job, mounting, owned, pod

PLANNED = ("apps/Deployment/web", "apps/Deployment/worker", "batch/CronJob/thumbnails")


def said(*more: Json) -> list[str]:
    found = unstopped([*STANDING, *more], {"media"}, PLANNED)
    return [f"{each.about} {each.message}" for each in found]


def test_what_the_plan_stops_is_no_reason() -> None:
    assert said() == []
    assert said(pod("ended-x", "media", "Failed"), pod("else", "cache")) == []


def test_a_pod_that_is_going_is_waited_for() -> None:
    going = owned(pod("safety-x", "media"), "Job", "drtool-safety-media")
    going["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert said(going) == []


def test_what_makes_a_pod_is_known_by_a_job_that_is_going() -> None:
    job = owned(captured("batch/v1", "Job", "thumbnails-2"), "CronJob", "thumbnails")
    job["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert said(job, owned(pod("thumbnails-2-x", "media"), "Job", "thumbnails-2")) == []


def test_all_that_came_since_is_named_once() -> None:
    files = workload("Deployment", "files", pod=mounting("media"))
    found = said(
        files,
        owned(workload("ReplicaSet", "files-1", pod=mounting("media")), "Deployment", "files"),
        owned(pod("files-1-x", "media"), "ReplicaSet", "files-1"),
        cron_job("nightly", "media"),
        pod("shell", "media"),
    )
    assert found == [
        "Deployment files uses a claim that is switched, and did not when the plan was made",
        "CronJob nightly uses a claim that is switched, and did not when the plan was made",
        "pod shell uses a claim that is switched, and is of no workload",
    ]


def test_who_scaled_last_is_told() -> None:
    entries = [
        {"manager": "helm", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "keda", "time": "2026-03-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "controller", "time": "2026-04-01T00:00:00Z", "fieldsV1": {"f:status": {}}},
    ]
    web = workload("Deployment", "web")
    assert scaled_by(web) == ""
    assert scaled_by({**web, "metadata": {**web["metadata"], "managedFields": entries}}) == "keda"
