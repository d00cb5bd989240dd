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
from drtool.sources.kubernetes.labels import labelled

BACKUP_S: Final = 1800.0  # for the backup of a volume, which may be a whole one
_PAUSE_S: Final = 5.0  # between lists of Jobs
_DUE: Final = "--due"
_BY_HAND: Final = "cronjob.kubernetes.io/instantiate"  # kubectl create job --from=cronjob/…


def wait_for_own(replay: Replay, cron_job: Json, what: str) -> bool:
    """Wait until no Job that a CronJob began by itself is at work; return whether there was one.

    what is the backup that it makes, in an error. Raises TemporaryFailure where one is at work for longer than a backup
    is waited for.
    """
    deadline = Deadline(replay.session.world, BACKUP_S)
    was_one = False
    while job := next(_at_work(replay, cron_job), None):
        name = job["metadata"]["name"]
        if not was_one:
            replay.session.world.progress.note(f"Job {name} is at {what} already, and is waited for")
        was_one = True
        if deadline.is_over():
            raise TemporaryFailure(
                f"Job {name} is at {what} still",
                hint="Resume once it has ended: "
                f"`kubectl --context={replay.plan.target.context} --namespace={replay.namespace} get job {name}`.",
            )
        deadline.wait(_PAUSE_S)
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
        if is_alone:
            _end_later(replay, cron_job, found)
        deadline.wait(_PAUSE_S if is_alone else 1.0)


def _end_later(replay: Replay, cron_job: Json, ours: Json) -> None:
    """End what the CronJob began by itself once our Job was there: one from before may be near its end."""
    begun = part(ours, "metadata").get("creationTimestamp")
    for job in _at_work(replay, cron_job):
        metadata = job["metadata"]
        if begun is None or metadata["creationTimestamp"] < begun:
            continue
        writing.delete(replay.cluster, JOBS, replay.namespace, metadata["name"], uid=metadata["uid"])
        replay.session.world.progress.note(
            f"Job {metadata['name']} was ended: a backup of its volume is made already"
        )


def _at_work(replay: Replay, cron_job: Json) -> Iterator[Json]:
    """Yield the Jobs that a CronJob began by itself, and that have not ended."""
    marks = part(spec_of(cron_job)["jobTemplate"], "metadata", "labels")  # which each of its Jobs bears
    for job in labelled(replay.cluster, JOBS, replay.namespace, marks):
        owners = job["metadata"].get("ownerReferences") or []
        is_its = any(
            (each["kind"], each["name"]) == ("CronJob", cron_job["metadata"]["name"]) for each in owners
        )
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
