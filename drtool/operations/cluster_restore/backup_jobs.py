"""A backup that a run begins: a Job such as a volume's CronJob makes, due or not, and waited for."""

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Final

from drtool.errors import TemporaryFailure
from drtool.operations.cluster_restore.apply import marked
from drtool.operations.cluster_restore.mover_end import has_ended
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.recovery.manifests.objects import Json, part, spec_of
from drtool.sources.kubernetes import writing
from drtool.sources.kubernetes.faults import Conflict
from drtool.sources.kubernetes.known import JOBS, PODS

BACKUP_S: Final = 1800.0  # for the backup of a volume, which may be a whole one
_DUE: Final = "--due"
_BY_HAND: Final = "cronjob.kubernetes.io/instantiate"  # kubectl create job --from=cronjob/…


def wait_for_own(replay: Replay, cron_job: str) -> bool:
    """Wait, as for a backup, until no Job that a CronJob began by itself is at work; return whether there was one."""
    deadline = Deadline(replay.session.world, BACKUP_S)
    was_one = False
    while any(_at_work(replay, cron_job)) and not deadline.is_over():
        was_one = True
        deadline.wait(1.0)
    return was_one


def run_backup(replay: Replay, name: str, cron_job: Json, what: str, *, is_alone: bool = False) -> None:
    """Run a Job as cron_job does, due or not, and return once it has ended well; what is its backup in an error.

    is_alone: what the CronJob begins by itself meanwhile would do the same, and is deleted: a backup may be killed at
    any moment, and a CronJob that were suspended for it would stay so if we were.
    Raises TemporaryFailure with its last word, and what kept it from its end; the Job is deleted then.
    """
    template = deepcopy(spec_of(cron_job)["jobTemplate"])
    container = template["spec"]["template"]["spec"]["containers"][0]
    container["args"] = [each for each in container["args"] if each != _DUE]
    metadata = {**template.get("metadata", {}), "name": name, "namespace": replay.namespace}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}
    with suppress(Conflict):  # a run before began it
        replay.cluster.create(JOBS, replay.namespace, marked(replay, job))
    deadline = Deadline(replay.session.world, BACKUP_S)
    while True:
        if is_alone:
            _end_own(replay, cron_job["metadata"]["name"])
        found = replay.cluster.get(JOBS, replay.namespace, name) or {}
        ended = {
            each["type"] for each in part(found, "status").get("conditions") or [] if each["status"] == "True"
        }
        if "Complete" in ended:
            return
        if "Failed" in ended or deadline.is_over():
            said = _last_word(replay, name)
            writing.delete(replay.cluster, JOBS, replay.namespace, name)  # so that a resumed run tries again
            raise TemporaryFailure(
                f"{what} {'failed' if 'Failed' in ended else 'does not end'}: {said}",
                hint="The system is restored; what keeps its backup from working has to be mended.",
            )
        deadline.wait(1.0)


def _end_own(replay: Replay, cron_job: str) -> None:
    for job in _at_work(replay, cron_job):
        metadata = job["metadata"]
        writing.delete(replay.cluster, JOBS, replay.namespace, metadata["name"], uid=metadata["uid"])
        replay.session.world.progress.note(
            f"Job {metadata['name']} was ended: a backup of its volume is made already"
        )


def _at_work(replay: Replay, cron_job: str) -> Iterator[Json]:
    """Yield the Jobs that a CronJob began by itself, and that have not ended."""
    for page in replay.cluster.pages(JOBS, replay.namespace):
        for job in page:
            owners = job["metadata"].get("ownerReferences") or []
            is_its = any((each["kind"], each["name"]) == ("CronJob", cron_job) for each in owners)
            is_its = is_its and _BY_HAND not in part(job, "metadata", "annotations")
            is_going = "deletionTimestamp" in job["metadata"]
            if is_its and not is_going and not has_ended(job, "Complete") and not has_ended(job, "Failed"):
                yield job


def _last_word(replay: Replay, job: str) -> str:
    """Return what the last pod of a Job said at its end."""
    pods = [
        pod
        for page in replay.cluster.pages(PODS, replay.namespace)
        for pod in page
        if part(pod, "metadata", "labels").get("job-name") == job
    ]
    pods.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    for status in (part(pods[-1], "status").get("containerStatuses") or []) if pods else []:
        ended = part(status, "state", "terminated")
        if ended:
            return str(ended.get("message") or f"it ended with {ended.get('exitCode')}")
    return "its pod said nothing"
