"""The switch of a restore in place: what uses the claims stops, and each claim gets the volume that was filled beside.

Until it has noted what it switches, all that it did is taken back by starting again what it stopped; from then on it
is gone on with. Both volumes are kept by their policy before anything is deleted, so that no end of drtool loses one.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from drtool.deploy.names import VOLUME_LABEL, cron_job, follower
from drtool.errors import DrtoolError, Refused, TemporaryFailure
from drtool.operations.cluster_restore.kinds import live
from drtool.operations.cluster_restore.replay import RUN_LABEL, Replay
from drtool.operations.cluster_restore.stopping import start, stop
from drtool.operations.cluster_restore.users import refuse_changed, refuse_used, users_of, wait_until_unused
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.policy.volumes import PostgresVolume
from drtool.recovery.in_place import Switch
from drtool.recovery.journal import fold
from drtool.recovery.manifests.objects import Json, part, spec_of
from drtool.recovery.steps import Step
from drtool.sources.kubernetes.client import Resource
from drtool.sources.kubernetes.known import CLAIMS, CRON_JOBS, DEPLOYMENTS, PODS, VOLUMES
from drtool.sources.kubernetes.writing import delete, patch, wait_until_gone

JOBS_S: Final = 900.0  # for what a CronJob has begun
UNUSED_S: Final = 300.0  # for the last pod of what was stopped: databases take their time
_GONE_S: Final = 300.0  # a backup that is ended says so in the repository first
_BOUND_S: Final = 120.0
RECLAIM: Final = "persistentVolumeReclaimPolicy"
CRON_JOB: Final = "batch/CronJob/"
SWITCH: Final = "switch volumes"


def switch_volumes(replay: Replay, step: Step) -> Json:
    """Stop what uses the claims, give each the new volume, and return which old volumes are kept. Safe to run again.

    Raises TemporaryFailure for what does not stop in time, or does not stay so, and starts all of it again until it
    has noted what it switches; Refused, with nothing stopped, for what uses the claims since the plan was made.
    """
    noted = _noted(replay, step)
    if noted is None:
        noted = _begin(replay, step)
    else:
        _stop(replay, step)
    for each in replay.plan.in_place:
        if isinstance(replay.policy.volume(each.volume), PostgresVolume):
            _end_protection(replay, each.volume)
    for each in replay.plan.in_place:
        _switch(replay, step.objects, each, noted[each.claim])
    return {"kept": {each.claim: noted[each.claim]["old"] for each in replay.plan.in_place}}


def refuse_once_switched(replay: Replay) -> None:
    """Return while no volume was switched. Raises Refused, and names what has the state before."""
    known = fold(replay.journal.entries())
    if not known.is_past_switch(replay.plan.steps):
        return
    points = (known.done.get(f"safety backup {each.volume}", {}) for each in replay.plan.in_place)
    named = [f"point {each['point']}, up to {each['moment']}" for each in points if "point" in each]
    noted = known.notes_of(SWITCH)[-1]
    kept = [f"PersistentVolume {each['old']}" for each in noted.values()]
    raise Refused(
        f"run {replay.run} has switched {', '.join(each.claim for each in replay.plan.in_place)}: what came in since "
        "would be lost",
        hint=f"Go on with --resume {replay.run}. The state before it is in {', '.join([*named, *kept])}: restore "
        "a point with another --in-place, or bind a volume by hand.",
    )


def _noted(replay: Replay, step: Step) -> Json | None:
    notes = fold(replay.journal.entries()).notes_of(step.id)
    return (notes[-1] or None) if notes else None


def _begin(replay: Replay, step: Step) -> Json:
    """Stop what uses the claims, and note which volumes are switched; else start all again, and raise why."""
    try:
        volumes = {each.claim: _volumes_of(replay, each) for each in replay.plan.in_place}
        refuse_changed(replay, step.objects)
        _stop(replay, step)
        refuse_used(replay, step.objects)
        replay.journal.write(step.id, "noted", volumes)
    except BaseException as fault:
        _take_back(replay, step, fault)
        raise
    return volumes


def _stop(replay: Replay, step: Step) -> None:
    """Stop what uses the claims: CronJobs first, whose work is waited for while the application still serves."""
    cron_jobs = [each for each in step.objects if each.startswith(CRON_JOB)]
    for name in cron_jobs:
        stop(replay, name)
    wait_until_unused(replay, cron_jobs, JOBS_S, _is_of_a_job)
    for name in step.objects:
        if name not in cron_jobs:
            stop(replay, name)
    wait_until_unused(replay, step.objects, UNUSED_S, lambda _pod: True)
    _clear_ended(replay)


def _clear_ended(replay: Replay) -> None:
    """Delete the pods on the claims that have ended: as long as there is one, a claim is not deleted."""
    ended = [pod["metadata"] for pod in users_of(replay)]
    for each in ended:
        delete(replay.cluster, PODS, replay.namespace, each["name"], uid=each["uid"])
    for each in ended:
        _wait_until_gone(replay, PODS, each["name"])


def _is_of_a_job(pod: Json) -> bool:
    """Return whether a Job made a pod."""
    return any(each["kind"] == "Job" for each in pod["metadata"].get("ownerReferences") or [])


def _take_back(replay: Replay, step: Step, fault: BaseException) -> None:
    """Start again what was stopped, and note that nothing is switched. Raises fault with what may still be stopped.

    An entry that the store did not take, and that says otherwise, may come to it yet.
    """
    left: list[str] = []
    for name in step.objects:
        try:
            start(replay, name)
        except DrtoolError:
            left.append(name)
    with suppress(DrtoolError):  # it comes to the store with the next entry
        replay.journal.write(step.id, "noted", {})
    if left and isinstance(fault, DrtoolError):
        hint = f"{fault.hint} --resume {replay.run} goes on, --abort {replay.run} starts them again."
        raise type(fault)(f"{fault.message}; {', '.join(left)} may be stopped", hint=hint) from fault


def _volumes_of(replay: Replay, switch: Switch) -> Json:
    """Return the volumes of the old and the new claim, and what becomes of the old one by its class."""
    names = {"new": ""}
    for which, claim in (("old", switch.claim), *([("new", switch.beside)] if switch.beside else [])):
        found = replay.cluster.get(CLAIMS, replay.namespace, claim) or {}
        names[which] = str(spec_of(found).get("volumeName") or "")
        if not names[which]:
            raise Refused(
                f"claim {claim} has no volume any more, and nothing was switched",
                hint=f"See who changed it; then undo the run: --abort {replay.run}.",
            )
    old = replay.cluster.get(VOLUMES, None, names["old"]) or {}
    return {**names, "policy": str(spec_of(old).get(RECLAIM) or "Retain")}


def _end_protection(replay: Replay, name: str) -> None:
    """Take away what backs a PostgreSQL up: after the switch it lives another life, which takes another writer.

    Else both lives would mingle in one lineage of WAL.
    """
    volume = replay.policy.volume(name)
    own: tuple[tuple[Resource, str], ...] = (
        (CRON_JOBS, cron_job(volume)),
        (DEPLOYMENTS, follower(volume)),
    )
    for resource, each in own:
        delete(replay.cluster, resource, replay.namespace, each, propagation="Foreground")
    for resource, each in own:
        _wait_until_gone(replay, resource, each)


def _switch(replay: Replay, names: Sequence[str], switch: Switch, noted: Json) -> None:
    """Give a claim its new volume, while none of names runs. Safe to run again."""
    refuse_used(replay, names)
    old, new = noted["old"], noted["new"]
    labels = {RUN_LABEL: replay.run, VOLUME_LABEL: switch.volume}
    kept = {RECLAIM: "Retain"}
    patch(replay.cluster, VOLUMES, None, old, {"metadata": {"labels": labels}, "spec": kept})
    found = replay.cluster.get(CLAIMS, replay.namespace, switch.claim) or {}
    if not new:
        if not found or spec_of(found).get("volumeName") == old:
            _remove(replay, names, switch.claim, old)
            replay.cluster.create(CLAIMS, replay.namespace, switch.body)
        return
    if spec_of(found).get("volumeName") != new:
        patch(replay.cluster, VOLUMES, None, new, {"spec": kept})
        _remove(replay, names, switch.claim, old)
        _remove(replay, names, switch.beside, new)
        _give(replay, switch, new)
    _wait_until_bound(replay, switch)


def _remove(replay: Replay, names: Sequence[str], claim: str, volume: str) -> None:
    """Delete a claim, unless it is gone. Raises Refused for one that has another volume than was noted."""
    found = replay.cluster.get(CLAIMS, replay.namespace, claim)
    if found is None:
        return
    if spec_of(found).get("volumeName") != volume:
        raise Refused(
            f"claim {claim} came to have volume {spec_of(found).get('volumeName')}, and not {volume}",
            hint="Somebody made it anew: delete it if nobody needs what it has; then resume the run.",
        )
    delete(replay.cluster, CLAIMS, replay.namespace, claim, uid=found["metadata"]["uid"])
    deadline = Deadline(replay.session.world, _GONE_S)
    while replay.cluster.get(CLAIMS, replay.namespace, claim) is not None and not deadline.is_over():
        refuse_used(replay, names)  # a claim stays for as long as a pod is on it
        deadline.wait()
    _wait_until_gone(replay, CLAIMS, claim)


def _give(replay: Replay, switch: Switch, volume: str) -> None:
    """Make the claim anew, with the new volume: each names the other, so nobody else gets it."""
    reference = {"name": switch.claim, "uid": None, "resourceVersion": None}
    patch(replay.cluster, VOLUMES, None, volume, {"spec": {"claimRef": reference}})
    body = {**switch.body, "spec": {**spec_of(switch.body), "volumeName": volume}}
    replay.cluster.create(CLAIMS, replay.namespace, body)


def _wait_until_bound(replay: Replay, switch: Switch) -> None:
    deadline = Deadline(replay.session.world, _BOUND_S)
    while True:
        found = live(replay, switch.body) or {}
        if part(found, "status").get("phase") == "Bound":
            return
        if deadline.is_over():
            raise TemporaryFailure(
                f"claim {switch.claim} is not bound to its new volume after {_BOUND_S:g} s",
                hint=f"`kubectl --namespace {replay.namespace} describe pvc {switch.claim}` says why.",
            )
        deadline.wait()


def _wait_until_gone(replay: Replay, resource: Resource, name: str) -> None:
    ending = replay.session.world.ending
    wait_until_gone(replay.cluster, resource, replay.namespace, name, deadline_s=_GONE_S, ending=ending)
