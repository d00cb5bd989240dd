"""The first backup of a restored system, beside those that its CronJobs begin: with the keys that were applied."""

import threading
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from drtool.errors import DrtoolError, NotProven, TemporaryFailure
from drtool.operations.cluster_restore import backup_jobs
from drtool.operations.cluster_restore.protect import first_backup
from drtool.operations.cluster_restore.replay import RUN_LABEL
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.operations.points import list_points
from tests.operations.cluster_restore.runs import RUN, Told
from tests.operations.cluster_restore.unprotected import FAILED, JOBS, Back
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import well
from tests.sources.kubernetes.shop import at

PODS = at("pods")


def test_the_first_backup_is_made_with_the_keys_that_were_applied(enrolled: Back) -> None:
    enrolled.target.becomes = enrolled.run_job

    points = enrolled.back_up()["points"]

    listed = {each.name: each for each in list_points(enrolled.session())}
    assert {name: listed[point].volume for name, point in points.items()} == {
        "objects": "objects",
        "media": "media",
    }
    assert {listed[point].writer for point in points.values()} == {"writer-2"}
    assert {listed[point].state for point in points.values()} == {"listed"}
    jobs = {each["metadata"]["name"]: each for each in enrolled.target.collections[JOBS]}
    assert jobs.keys() == {f"drtool-first-{name}-{RUN[-6:]}" for name in points}
    for job in jobs.values():
        assert job["metadata"]["labels"][RUN_LABEL] == RUN
        assert "--due" not in job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert enrolled.back_up()["points"] == points  # of a run that was killed before it could say so
    assert len(list_points(enrolled.session())) == len(listed)


def begun_by_itself(system: Back, volume: str, made: str = "2026") -> Json:
    """Have the CronJob of a volume begin a Job, as its controller does; the server of the tests makes all in "2026"."""
    cron = system.target.find(at("cronjobs", "batch"), f"drtool-backup-{volume}")
    assert cron is not None
    name = f"drtool-backup-{volume}-29000000"
    owner = {"kind": "CronJob", "name": cron["metadata"]["name"], "uid": cron["metadata"]["uid"]}
    job: Json = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": deepcopy(cron["spec"]["jobTemplate"]["spec"]),
    }
    metadata = cron["spec"]["jobTemplate"]["metadata"]
    metadata = {**metadata, "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    job["metadata"] = {**metadata, "creationTimestamp": made, "ownerReferences": [owner]}
    system.target.collections[JOBS].append(job)
    return job


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_backup_that_the_cron_job_began_by_itself_is_waited_for_and_not_made_twice(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch, *, ends_well: bool
) -> None:
    enrolled.target.becomes = enrolled.run_job
    job, waited = begun_by_itself(enrolled, "media"), threading.Event()

    def wait(deadline: Deadline, seconds: float = 0.0) -> None:
        if not waited.is_set():
            waited.set()
            assert enrolled.target.find(JOBS, f"drtool-first-media-{RUN[-6:]}") is None
            job["status"] = enrolled.run_job(job) if ends_well else FAILED

    monkeypatch.setattr(Deadline, "wait", wait)
    points = enrolled.back_up()["points"]

    assert waited.is_set()
    assert points.keys() == {"objects", "media"}
    made = {each["metadata"]["name"] for each in enrolled.target.collections[JOBS]}
    first = {f"drtool-first-{name}-{RUN[-6:]}" for name in ("objects", "media")}
    assert made & first == (first - {f"drtool-first-media-{RUN[-6:]}"} if ends_well else first)
    assert job["metadata"]["name"] in made
    listed = [each for each in list_points(enrolled.session()) if each.writer == "writer-2"]
    assert len(listed) == len(points)


def test_what_the_cron_job_begins_beside_the_first_backup_is_ended(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, told = f"drtool-first-media-{RUN[-6:]}", Told()
    seen: list[set[str]] = []

    def becomes(found: Json) -> Json:
        return {} if found["metadata"]["name"] == name else enrolled.run_job(found)

    def wait(deadline: Deadline, seconds: float = 0.0) -> None:
        jobs = {each["metadata"]["name"]: each for each in enrolled.target.collections[JOBS]}
        if not seen:
            begun_by_itself(enrolled, "media")
            begun_by_itself(enrolled, "objects")["status"] = well(jobs[name])
            by_hand = deepcopy(begun_by_itself(enrolled, "media"))
            annotations = {"cronjob.kubernetes.io/instantiate": "manual"}
            by_hand["metadata"] |= {"name": "by-hand", "annotations": annotations}
            enrolled.target.collections[JOBS][-1] = by_hand
        else:
            jobs[name]["status"] = enrolled.run_job(jobs[name])
        seen.append(set(jobs))

    enrolled.target.becomes = becomes
    monkeypatch.setattr(Deadline, "wait", wait)
    session = enrolled.session()
    world = replace(session.world, progress=told)
    step = next(each for each in enrolled.replay.plan.steps if each.id == "first backup")
    first_backup(replace(enrolled.replay, session=replace(session, world=world)), step)

    assert "drtool-backup-media-29000000" not in seen[1]
    assert seen[1] >= {"drtool-backup-objects-29000000", "by-hand"}  # one has ended, one is a person's
    assert told.notes == [
        "Job drtool-backup-media-29000000 was ended: a backup of its volume is made already"
    ]


def test_one_of_before_that_does_not_end_is_neither_ended_nor_joined_by_another(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_jobs, "BACKUP_S", 0.2)
    monkeypatch.setattr(backup_jobs, "_PAUSE_S", 0.1)
    enrolled.target.becomes = enrolled.run_job
    name = begun_by_itself(enrolled, "media")["metadata"]["name"]
    told = Told()
    session = enrolled.session()
    session = replace(session, world=replace(session.world, progress=told))
    for _ in range(2):  # who goes on with the run finds the same
        with pytest.raises(
            TemporaryFailure, match=f"^Job {name} is at the first backup of media still$"
        ) as it:
            enrolled.back_up(session=session)
        assert f"`kubectl --context=new --namespace=shop get job {name}`" in it.value.hint
        assert enrolled.target.find(JOBS, name) is not None
        assert enrolled.target.find(JOBS, f"drtool-first-media-{RUN[-6:]}") is None
    assert told.notes == [f"Job {name} is at the first backup of media already, and is waited for"] * 2


@pytest.mark.parametrize(("made", "is_kept"), [("2025", True), ("2026", False), ("2027", False)])
def test_what_the_cron_job_began_before_the_first_backup_is_not_ended_for_it(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch, made: str, *, is_kept: bool
) -> None:
    ours = f"drtool-first-media-{RUN[-6:]}"
    enrolled.target.becomes = lambda found: (
        {} if found["metadata"]["name"] == ours else enrolled.run_job(found)
    )
    seen: list[Json | None] = []

    def wait(deadline: Deadline, seconds: float = 0.0) -> None:
        found = enrolled.target.find(JOBS, ours)
        assert found is not None
        if not seen:
            seen.append(begun_by_itself(enrolled, "media", made))
        else:
            found["status"] = enrolled.run_job(found)

    monkeypatch.setattr(Deadline, "wait", wait)
    enrolled.back_up()
    assert (enrolled.target.find(JOBS, "drtool-backup-media-29000000") is not None) == is_kept


def test_a_later_backup_is_left_alone_once_the_first_one_has_ended(enrolled: Back) -> None:
    enrolled.target.becomes = enrolled.run_job
    points = enrolled.back_up()["points"]
    name = begun_by_itself(enrolled, "media", "2027")["metadata"]["name"]
    assert enrolled.back_up()["points"] == points  # of a run that was killed before it could say so
    assert enrolled.target.find(JOBS, name) is not None


def test_one_that_is_going_already_is_not_waited_for(enrolled: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_jobs, "BACKUP_S", 0.2)
    monkeypatch.setattr(backup_jobs, "_PAUSE_S", 0.1)
    enrolled.target.becomes = enrolled.run_job
    job = begun_by_itself(enrolled, "media")
    job["metadata"]["deletionTimestamp"] = "2026"
    enrolled.back_up()
    assert enrolled.target.find(JOBS, f"drtool-first-media-{RUN[-6:]}") is not None


def test_a_job_that_ends_well_and_leaves_no_point_proves_nothing(enrolled: Back) -> None:
    before = list_points(enrolled.session())
    with pytest.raises(NotProven, match="first backup of objects ended well, and the repository lists no"):
        enrolled.back_up()
    assert {each.writer for each in before} == {"writer-1"}  # whose points are not taken for new ones


def test_a_repository_that_cannot_be_opened_anew_proves_nothing(enrolled: Back) -> None:
    with pytest.raises(DrtoolError, match="cannot be opened anew"):
        enrolled.back_up(reopen=None)


def _pod(name: str, created: str, job: str, **terminated: Any) -> Json:
    metadata = {"name": name, "creationTimestamp": created, "labels": {"job-name": job}}
    state = {"terminated": terminated} if terminated else {"running": {}}
    return {"metadata": metadata, "status": {"containerStatuses": [{"state": state}]}}


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ({"exitCode": 4, "message": "wrong key"}, "wrong key"),
        ({"exitCode": 137}, "it ended with 137"),
        ({}, "its pod said nothing"),
    ],
)
def test_a_job_that_fails_tells_the_last_word_of_its_last_pod_and_is_tried_again(
    enrolled: Back, ended: Json, said: str
) -> None:
    job = f"drtool-first-objects-{RUN[-6:]}"
    enrolled.target.collections[PODS] = [
        _pod("b", "2026-01-02T00:00:00Z", job, **ended),
        _pod("a", "2026-01-01T00:00:00Z", job, exitCode=1, message="an earlier word"),
        _pod("c", "2026-01-03T00:00:00Z", "another", exitCode=1, message="another's word"),
    ]
    enrolled.target.becomes = lambda found: (
        FAILED if found["metadata"]["name"] == job else enrolled.run_job(found)
    )

    with pytest.raises(TemporaryFailure, match=f"^the first backup of objects failed: {said}$"):
        enrolled.back_up()

    assert enrolled.target.find(JOBS, job) is None
    enrolled.target.becomes = enrolled.run_job
    assert enrolled.back_up()["points"].keys() == {"objects", "media"}


def test_a_job_that_does_not_end_is_not_waited_for_without_end(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_jobs, "BACKUP_S", 0.2)
    enrolled.target.becomes = lambda found: {} if found["kind"] == "Job" else well(found)
    with pytest.raises(TemporaryFailure, match="first backup of objects does not end: its pod said nothing"):
        enrolled.back_up()
    assert enrolled.target.collections[JOBS] == []
