"""What does a policy's work: a CronJob for each volume, and who follows the WAL of each PostgreSQL."""

from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from drtool.deploy.names import Object, cron_job, follower, labels, new
from drtool.deploy.pods import CONTAINER, Duty, pod_template
from drtool.policy.cadence import cadence
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, Volume

_MINUTE = timedelta(minutes=1)
_POLLS = (1, 2, 3, 4, 5, 6, 10, 12, 15)  # minutes; each divides an hour
_POLLS_A_RUN = 4  # a run that is due, or failed, begins within a quarter of the time between two
_KEPT_S = 2 * 24 * 3600  # a finished Job, for as long as somebody may want to look at it
_LATE_S: Final = 120  # a start that is missed by so much is left to the next; below 10 s it might never come
_DIGEST_DIGITS: Final = 16
_SPARE_S: Final = 300  # of max_run: what arrives later is void, so who is late ends before

# Another try helps with neither of these; the next run looks anew.
_POINTLESS: Final = [2, 4, 5, 6, 7, 8]
_COUNTED: Final = [1, 3, 75]


def backup_job(policy: Policy, volume: Volume, image: str) -> Object:
    """Return the CronJob of a volume. It asks often what is due, so that a missed run is made up for by itself."""
    duty = Duty(volume, "backup", ("backup", volume.name, "--due"))
    template = pod_template(policy, duty, image)
    template["spec"] = {"restartPolicy": "Never", **template["spec"]}
    job = {
        "activeDeadlineSeconds": _deadline_s(volume),
        "backoffLimit": 1,
        "ttlSecondsAfterFinished": _KEPT_S,
        "podFailurePolicy": failure_policy(),
        "template": template,
    }
    marks = labels(volume, "backup")
    return new(
        "batch/v1",
        "CronJob",
        cron_job(volume),
        marks,
        spec={
            "schedule": cron_line(policy, volume),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _LATE_S,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 5,
            "jobTemplate": {"metadata": {"labels": marks}, "spec": job},
        },
    )


def failure_policy() -> Object:
    """Return which ends of a pod are worth another one."""
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [disrupted]},
            _on_exit("FailJob", _POINTLESS),
            _on_exit("Count", _COUNTED),
        ]
    }


def _on_exit(action: str, codes: list[int]) -> dict[str, Any]:
    condition = {"containerName": CONTAINER, "operator": "In", "values": list(codes)}
    return {"action": action, "onExitCodes": condition}


def _deadline_s(volume: Volume) -> int:
    max_run_s = int(volume.max_run.total_seconds())
    return max(1, max_run_s - min(_SPARE_S, max_run_s // 10))


def cron_line(policy: Policy, volume: Volume) -> str:
    """Return when a volume's CronJob asks what is due: how often follows from how often a run is.

    The volumes of a policy do not begin in the same minute, where there is more than one to choose from.
    """
    pace = cadence(policy, volume)
    gap = min(pace.schedule.longest_gap(), policy.rpo(volume))
    every = max((minutes for minutes in _POLLS if minutes * _MINUTE * _POLLS_A_RUN <= gap), default=1)
    offset = policy.volumes.index(volume) % every
    return "* * * * *" if every == 1 else f"{offset}-59/{every} * * * *"


def wal_follower(policy: Policy, volume: PostgresVolume, image: str) -> Object:
    """Return the Deployment that follows the WAL of a PostgreSQL: one, for a slot has one receiver."""
    marks = labels(volume, "wal-follow")
    duty = Duty(volume, "wal-follow", ("wal", "follow", volume.name))
    template = pod_template(policy, duty, image)
    # The follower reads its policy when it starts: another policy takes another pod.
    digest = sha256(policy.model_dump_json().encode()).hexdigest()
    template["metadata"]["annotations"] = {"drtool.io/policy": digest[:_DIGEST_DIGITS]}
    return new(
        "apps/v1",
        "Deployment",
        follower(volume),
        marks,
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": marks},
            "template": template,
        },
    )
