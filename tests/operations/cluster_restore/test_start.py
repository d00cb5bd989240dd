"""Workloads come up, or go back to nothing."""

from pathlib import Path
from typing import Any

import pytest

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.operations.cluster_restore import start
from drtool.operations.cluster_restore.apply import apply_objects
from drtool.operations.cluster_restore.start import is_ready, resume_cron_jobs, start_tier
from drtool.recovery.manifests.hold import NOWHERE
from tests.operations.cluster_restore.runs import Run, at, live, run
from tests.recovery.captured import captured, workload
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import well

DELETE = {"whenDeleted": "Delete", "whenScaled": "Delete"}
DB = workload("StatefulSet", "db", 3, persistentVolumeClaimRetentionPolicy=DELETE)
MAIL = captured("batch/v1", "CronJob", "mail", spec={"schedule": "* * * * *", "suspend": False})


def applied(found: Run) -> Run:
    for step in found.replay.plan.steps:
        if step.kind == "apply":
            apply_objects(found.replay, step)
    return found


def watched(found: Run) -> list[tuple[int, str]]:
    """Return a list that gets replicas, and what becomes of claims, of each StatefulSet that is written."""
    seen: list[tuple[int, str]] = []

    def note(item: Json) -> Json:
        if item["kind"] == "StatefulSet":
            spec = item["spec"]
            seen.append((spec["replicas"], spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"]))
        return well(item)

    found.api.becomes = note
    return seen


def test_a_stateful_set_begins_with_one_and_keeps_its_claims_until_it_is_ready(tmp_path: Path) -> None:
    with run(tmp_path, [DB]) as found:
        seen = watched(applied(found))
        start_tier(found.replay, found.step("start tier 1"))
        assert seen == [(1, "Retain"), (3, "Retain"), (3, "Delete")]


def test_a_run_that_goes_on_scales_nothing_down(tmp_path: Path) -> None:
    with run(tmp_path, [DB]) as found:
        start_tier(applied(found).replay, found.step("start tier 1"))
        seen = watched(found)
        start_tier(found.replay, found.step("start tier 1"))
        assert {replicas for replicas, _ in seen} == {3}


def pod(name: str, app: str, **status: Any) -> Json:
    return live("Pod", name, metadata={"labels": {"app": app}}, status=status)


def event(of: str, message: str, uid: str | None = None) -> Json:
    involved = {"name": of, "uid": uid or f"uid-{of}"}
    return live("Event", f"{of}.{uid}", involvedObject=involved, message=message)


EARLIER = [event(name, "of an earlier one", "uid-earlier") for name in ("web", "web-1")]


CRASHED = pod(
    "web-1",
    "web",
    phase="Running",
    containerStatuses=[
        {
            "name": "web",
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 3, "message": "no such\ndatabase"}},
        }
    ],
)


@pytest.mark.parametrize(
    ("pods", "events", "said"),
    [
        ([CRASHED], [], r"back-off; container web ended with 3: no such database"),
        ([pod("web-1", "web", phase="Running")], [], "pod web-1 is not ready: its probe does not pass"),
        (
            [pod("web-1", "web", phase="Running", containerStatuses=[{"name": "web"}])],
            [event("web-1", "Readiness probe failed: 503")],
            "Readiness probe failed: 503",
        ),
        ([pod("other", "other", phase="Pending")], [event("web", "exceeded quota")], "exceeded quota"),
        ([pod("web-1", "web", conditions=[{"type": "Ready", "status": "True"}])], [], "say no reason"),
    ],
)
def test_what_does_not_get_ready_says_why_and_goes_back_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pods: list[Json], events: list[Json], said: str
) -> None:
    monkeypatch.setattr(start, "_LOOK_S", 0.0)
    daemon = workload("DaemonSet", "agent")
    with run(tmp_path, [workload("Deployment", "web"), daemon]) as found:
        applied(found).find("Deployment", "web")["metadata"]["uid"] = "uid-web"
        found.api.collections[at("Pod")], found.api.collections[at("Event")] = pods, [*events, *EARLIER]
        found.api.becomes = lambda item: {} if item["kind"] == "Deployment" else well(item)
        with pytest.raises(TemporaryFailure, match=said):
            start_tier(found.replay, found.step("start tier 1"), limit_s=1.2)
        assert found.find("Deployment", "web")["spec"]["replicas"] == 0
        assert NOWHERE in found.find("DaemonSet", "agent")["spec"]["template"]["spec"]["nodeSelector"]
    assert len(found.told.notes) == len(set(found.told.notes))
    assert "no reason" in said or any("Deployment web: " in each for each in found.told.notes)


def test_a_tier_that_cannot_even_be_taken_back_says_what_it_failed_of_first(tmp_path: Path) -> None:
    with run(tmp_path, [workload("Deployment", "web")]) as found:
        applied(found)
        answers = iter([(422, "the first no")])
        found.api.refuses = lambda *_: next(answers, (422, "another no"))
        with pytest.raises(SourceUnavailable, match="the first no"):
            start_tier(found.replay, found.step("start tier 1"))


@pytest.mark.parametrize(
    ("kind", "spec", "status", "ready"),
    [
        ("Deployment", {"replicas": 2}, {"readyReplicas": 2, "updatedReplicas": 1}, False),
        ("Deployment", {"replicas": 2}, {"readyReplicas": 2, "updatedReplicas": 2}, True),
        ("DaemonSet", {}, {"desiredNumberScheduled": 1, "numberReady": 1}, False),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 1, "numberReady": 1, "updatedNumberScheduled": 1},
            True,
        ),
        ("DaemonSet", {}, {"desiredNumberScheduled": 0}, True),
        ("StatefulSet", {}, {"readyReplicas": 1}, True),
        ("StatefulSet", {"replicas": 2}, {"readyReplicas": 1}, False),
    ],
)
def test_who_is_ready(kind: str, spec: Json, status: Json, *, ready: bool) -> None:
    found = live(kind, "x", spec=spec, status={"observedGeneration": 1, **status})
    assert is_ready(found) == ready
    assert not is_ready({**found, "status": {**status, "observedGeneration": 0}})
    assert not is_ready({})


def test_a_cron_job_is_made_anew_once(tmp_path: Path) -> None:
    with run(tmp_path, [MAIL]) as found:
        waiting = applied(found).find("CronJob", "mail")
        assert waiting["spec"]["suspend"] is True
        for _ in range(2):
            resume_cron_jobs(found.replay, found.step("resume CronJobs"))
            assert found.find("CronJob", "mail")["spec"]["suspend"] is False
        assert found.find("CronJob", "mail")["metadata"]["uid"] != waiting["metadata"]["uid"]
        deletions = [each for each in found.api.asked if each.startswith("DELETE")]
    assert len(deletions) == 1


def test_a_cron_job_keeps_its_owners(tmp_path: Path) -> None:
    with run(tmp_path, [MAIL]) as found:
        applied(found).find("CronJob", "mail")["metadata"]["ownerReferences"] = [{"uid": "of-shop"}]
        resume_cron_jobs(found.replay, found.step("resume CronJobs"))
        assert found.find("CronJob", "mail")["metadata"]["ownerReferences"] == [{"uid": "of-shop"}]
