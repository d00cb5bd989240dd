"""Workloads come up, tier by tier: each is waited for before the next begins; CronJobs come last.

A StatefulSet begins with one pod: of a database the others are clones of the first, or its replicas, and must not
make something of their own beside it. A tier that does not get ready is taken back to nothing; those before it run on,
and who takes traffic from outside comes behind the last: no half of an application does.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Final

from drtool.errors import DrtoolError, TemporaryFailure
from drtool.operations.cluster_restore.apply import marked, put, remove
from drtool.operations.cluster_restore.kinds import is_ours, live
from drtool.operations.cluster_restore.lease import Taken
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.unready import SILENT, unready
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.recovery.manifests.hold import hold
from drtool.recovery.manifests.objects import Json, kind_of, part, spec_of
from drtool.recovery.steps import Step, started_by

READY_S: Final = 600.0  # for a tier: images may have to be pulled
_LOOK_S: Final = 15.0  # between two looks at what keeps a workload from being ready
_AT_ONCE: Final = 4


def start_tier(replay: Replay, step: Step, *, limit_s: float = READY_S) -> Json:
    """Start the workloads of a tier and return once all of them are ready.

    Raises TemporaryFailure, saying which pod of what is not ready and why; nothing of the tier runs then, or it is
    said what may.
    """
    items = [replay.objects[each].item for each in step.objects]
    deadline = Deadline(replay.session.world, limit_s)
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for started in [pool.submit(_start, replay, item, deadline) for item in items]:
                started.result()
    except BaseException as fault:
        left, before = _left_running(replay, items), started_by(replay.plan.steps, replay.results)
        if isinstance(fault, DrtoolError) and (left or before):
            raise _with_what_runs(fault, left, before, replay.namespace) from fault
        raise
    return {"workloads": len(items)}


def _with_what_runs(
    fault: DrtoolError, left: Sequence[str], before: Sequence[str], namespace: str
) -> DrtoolError:
    """Return what a tier failed with, and what of it and of the tiers before it may run now."""
    message, hint = fault.message, fault.hint
    if left:
        message += f"; {', '.join(left)} may still run, for that could not be taken back"
        scale = f"`kubectl --namespace {namespace} scale`"
        hint += f" Where it must not run until then, {scale} it to 0 by hand."
    if before:
        message += f"; what started before it runs on: {', '.join(before)}"
        hint += " Ingresses, and what of Services leads in from outside, wait until all has started and was probed."
    return type(fault)(message, hint=hint)


def _left_running(replay: Replay, items: Sequence[Json]) -> list[str]:
    """Take a tier back to nothing; return what could not be. What the tier failed with is what counts."""
    left: list[str] = []
    is_away = False
    for item in items:
        try:
            if not is_away:  # each would be waited for anew
                put(replay, hold(marked(replay, item)))
                continue
        except Taken:  # who has the Lease now may have started just this
            return []
        except TemporaryFailure:
            is_away = True
        except DrtoolError:
            pass
        left.append(f"{item['kind']} {item['metadata']['name']}")
    return left


def _start(replay: Replay, item: Json, deadline: Deadline) -> None:
    """Start one workload. Until it is ready it keeps its claims, whatever it says of those that it does not need."""
    final = marked(replay, item)
    wanted = int(spec_of(item).get("replicas", 1))
    if kind_of(item) == ("apps", "StatefulSet"):
        has = int(spec_of(live(replay, item) or {}).get("replicas", 0))
        for replicas in (1, wanted) if has <= 1 < wanted else (wanted,):
            scaled = deepcopy(hold(final))
            scaled["spec"]["replicas"] = replicas
            put(replay, scaled)
            wait_until_ready(replay, scaled, deadline)
    put(replay, final)
    wait_until_ready(replay, final, deadline)


def wait_until_ready(replay: Replay, item: Json, deadline: Deadline) -> None:
    """Return once a workload is ready. What keeps it from that is told early; it may pass, as an image that comes."""
    told: set[str] = set()
    look = Deadline(replay.session.world, _LOOK_S)
    while not is_ready(live(replay, item) or {}):
        if look.is_over():
            look = Deadline(replay.session.world, _LOOK_S)
            for fault in unready(replay, item):
                if fault not in told:
                    told.add(fault)
                    replay.session.world.progress.note(f"{item['kind']} {item['metadata']['name']}: {fault}")
        if deadline.is_over():
            why = next(unready(replay, item), SILENT)
            name = item["metadata"]["name"]
            raise TemporaryFailure(
                f"{item['kind']} {name} is not ready: {why}",
                hint=f"`kubectl --namespace {replay.namespace} describe pods` tells more.",
            )
        deadline.wait()


def is_ready(found: Json) -> bool:
    """Return whether a workload is all that it should be: every pod, of the newest kind, ready."""
    status, wanted = part(found, "status"), int(spec_of(found).get("replicas", 1))
    if not found or status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return False
    match kind_of(found):
        case "apps", "DaemonSet":
            wanted = int(status.get("desiredNumberScheduled", 0))
            counts = [status.get("numberReady", 0), status.get("updatedNumberScheduled", 0)]
        case "apps", "Deployment":
            counts = [status.get("readyReplicas", 0), status.get("updatedReplicas", 0)]
        case _:
            counts = [status.get("readyReplicas", 0)]
    return all(count >= wanted for count in counts)


def resume_cron_jobs(replay: Replay, step: Step) -> Json:
    """Let the CronJobs run that ran before.

    One that this run made is made anew: else its controller would make up at once for what it missed while it waited.
    """
    for each in step.objects:
        item = marked(replay, replay.objects[each].item)
        found = live(replay, item)
        if found is not None and is_ours(replay, found) and spec_of(found).get("suspend"):
            owners = found["metadata"].get("ownerReferences")
            if owners:
                item["metadata"]["ownerReferences"] = owners
            remove(replay, item, uid=found["metadata"]["uid"])
        put(replay, item)
    return {"objects": len(step.objects)}
