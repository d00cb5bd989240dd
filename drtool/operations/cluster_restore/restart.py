"""The start behind a switch: what was stopped runs again, on the new volumes; what was kept is told."""

from collections.abc import Iterator

from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.start import READY_S, wait_until_ready
from drtool.operations.cluster_restore.stopping import start, start_first
from drtool.operations.cluster_restore.switch import CRON_JOB, RECLAIM, SWITCH
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.recovery.in_place import uses
from drtool.recovery.journal import fold
from drtool.recovery.manifests.objects import Json
from drtool.recovery.steps import Step
from drtool.sources.kubernetes.known import VOLUMES
from drtool.sources.kubernetes.writing import patch


def start_again(replay: Replay, step: Step) -> Json:
    """Start what was stopped, CronJobs last, and return once it is ready; what kept the old data is told.

    A PostgreSQL that has several begins with one pod: the others are clones of the first.

    Raises TemporaryFailure for what does not get ready: it is left as it is, for somebody to look at.
    """
    there = [each for each in step.objects if each in replay.objects]  # else somebody deleted it meanwhile
    workloads = [each for each in there if not each.startswith(CRON_JOB)]
    clones = [each.claim for each in replay.plan.in_place if not each.beside]
    cloning = [each for each in workloads if any(uses(replay.objects[each].item, claim) for claim in clones)]
    deadline = Deadline(replay.session.world, READY_S)
    for begin, names in ((start_first, cloning), (start, workloads)):
        for name in names:
            begin(replay, name)
        for name in names:
            wait_until_ready(replay, replay.objects[name].item, deadline)
    for name in there:
        if name not in workloads:
            start(replay, name)
    _leave_to_their_class(replay)
    gone = [
        f"{each} was deleted meanwhile, and is not started again"
        for each in step.objects
        if each not in there
    ]
    return {"notes": [*gone, *_left_to_do(replay)]}


def _leave_to_their_class(replay: Replay) -> None:
    """Give the new volumes the policy that the old ones had: until what uses them was ready, none could be deleted."""
    noted: Json = fold(replay.journal.entries()).notes_of(SWITCH)[-1]
    for each in replay.plan.in_place:
        if new := noted[each.claim]["new"]:
            patch(replay.cluster, VOLUMES, None, new, {"spec": {RECLAIM: noted[each.claim]["policy"]}})


def _left_to_do(replay: Replay) -> Iterator[str]:
    kept: Json = replay.results.get(SWITCH, {}).get("kept", {})
    for each in replay.plan.in_place:
        point = replay.results.get(f"safety backup {each.volume}", {}).get("point") if each.beside else None
        yield (
            f"what claim {each.claim} had until the switch is kept as PersistentVolume {kept.get(each.claim)}"
            + (f", and up to the safety backup in {point}" if point else "")
            + ": delete it once nobody needs it any more"
        )
