"""What comes after a mover: its claim is settled, it is cleared away, and what it proved is held."""

from collections.abc import Iterator
from typing import Final

from drtool.deploy.mover import mover_name, settle_name
from drtool.errors import NotProven
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.recovery.steps import Step
from drtool.sources.base import Json
from drtool.sources.kubernetes.known import JOBS, NETWORK_POLICIES, PODS, SECRETS
from drtool.sources.kubernetes.writing import delete, patch, wait_until_gone

_GONE_S: Final = 120.0
_SETTLED_S: Final = 180.0


def prove_volume(replay: Replay, step: Step) -> Json:
    """Hold what the restore of a volume proved. Raises as `hold_proofs`.

    Its mover is cleared away only now that the journal has what it said, and its mark in the claim before it.
    """
    notes = list(settle_claim(replay, step.what))
    clear_mover(replay, step.what)
    return {**hold_proofs(replay, step), **({"notes": notes} if notes else {})}


def hold_proofs(replay: Replay, step: Step) -> Json:
    """Return how many proofs the restore of a volume made. Raises NotProven where one failed, or none was made."""
    ended = (replay.results.get(need, {}) for need in step.needs)
    result = next((each for each in ended if "proofs" in each), {})
    proofs: list[Json] = result.get("proofs") or []
    failed = [each for each in proofs if not each.get("ok")]
    if failed or not proofs:
        told = "; ".join(
            f"{each['name']}: expected {each['expected']}, found {each['actual']}" for each in failed
        )
        raise NotProven(
            f"{step.what} is restored, and " + (f"proofs failed: {told}" if failed else "nothing was proven"),
            hint="Do not put it into service: restore an earlier point, which `drtool points` lists.",
        )
    return {"proofs": len(proofs), "moment": result.get("moment")}


def settle_claim(replay: Replay, volume: str, *, limit_s: float = _SETTLED_S) -> Iterator[str]:
    """Have the mark of a volume's mover taken from its claim; yield what to do by hand where that does not end well.

    The application can do with a folder that is left, and without its data it cannot: nothing stops for this.
    """
    name = settle_name(replay.run, volume)
    if replay.cluster.get(JOBS, replay.namespace, name) is None:  # cleared away by a run before
        return
    job = patch(replay.cluster, JOBS, replay.namespace, name, {"spec": {"suspend": False}})
    deadline = Deadline(replay.session.world, limit_s)
    while not has_ended(job, "Complete"):
        if has_ended(job, "Failed") or deadline.is_over():
            yield (
                f"the claim of volume {volume} still holds the folder .drtool-{replay.run}-{volume}: nobody needs it, "
                "remove it"
            )
            return
        deadline.wait()
        job = replay.cluster.get(JOBS, replay.namespace, name) or {}


def clear_mover(replay: Replay, volume: str) -> None:
    """Remove a mover with all that it had, and wait until its Jobs are gone. Its claim, and what is in there, stays."""
    name = mover_name(replay.run, volume)
    jobs = (name, settle_name(replay.run, volume))
    for job in jobs:
        delete(replay.cluster, JOBS, replay.namespace, job, propagation="Foreground")
    delete(replay.cluster, PODS, replay.namespace, f"{name}-ask")
    delete(replay.cluster, NETWORK_POLICIES, replay.namespace, name)
    delete(replay.cluster, SECRETS, replay.namespace, name)
    for page in replay.cluster.pages(SECRETS, replay.namespace):
        for each in page:
            if each["metadata"]["name"].startswith(f"{name}-grant-"):
                delete(replay.cluster, SECRETS, replay.namespace, each["metadata"]["name"])
    ending = replay.session.world.ending
    for job in jobs:
        wait_until_gone(replay.cluster, JOBS, replay.namespace, job, deadline_s=_GONE_S, ending=ending)


def has_ended(job: Json, condition: str) -> bool:
    """Return whether a Job is Complete, or Failed."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)
