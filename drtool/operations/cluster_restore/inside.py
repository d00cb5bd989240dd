"""What has to run inside of the target: a pod that does one thing and is cleared away, a command in a pod that runs."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

from drtool.deploy.one_off import OneOff, one_off_name, one_off_network, one_off_pod
from drtool.deploy.pods import CONTAINER
from drtool.errors import DrtoolError, Refused, TemporaryFailure
from drtool.operations.cluster_restore.replay import MANAGER, Replay
from drtool.operations.cluster_restore.unready import SILENT, unready
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import Json, part, spec_of
from drtool.sources.kubernetes.exec import Executed, execute
from drtool.sources.kubernetes.known import NETWORK_POLICIES, PODS
from drtool.sources.kubernetes.pod_faults import pod_fault
from drtool.sources.kubernetes.writing import apply, delete, wait_until_gone

_START_S: Final = 300  # beside the time of what runs: an image may have to be pulled
_GONE_S: Final = 60.0
_LINES: Final = 10
_PODS_MOST: Final = 500
_MESSAGE: Final = 2000  # characters of an output in an error
_DEFAULT: Final = "kubectl.kubernetes.io/default-container"


def run_pod(replay: Replay, step: str, does: OneOff, limit_s: float) -> str:
    """Run a pod of its own to its end and return the end of its log; all of it is deleted whatever comes.

    One that a run before left behind is deleted first. Raises DrtoolError with the end of its log where it fails.
    """
    _clear(replay, step)
    wait_until_gone(
        replay.cluster,
        PODS,
        replay.namespace,
        one_off_name(replay.run, step),
        deadline_s=_GONE_S,
        ending=replay.session.world.ending,
    )
    limit = int(limit_s) + _START_S
    network = one_off_network(replay.run, step)
    network["metadata"]["namespace"] = replay.namespace
    try:
        apply(replay.cluster, NETWORK_POLICIES, network, MANAGER, force=True)
        replay.cluster.create(PODS, replay.namespace, one_off_pod(replay.run, step, does, limit))
        return _followed(replay, step, Deadline(replay.session.world, limit))
    finally:
        _clear(replay, step)


def _clear(replay: Replay, step: str) -> None:
    name = one_off_name(replay.run, step)
    try:
        delete(replay.cluster, PODS, replay.namespace, name)
    finally:
        delete(replay.cluster, NETWORK_POLICIES, replay.namespace, name)


def _followed(replay: Replay, step: str, deadline: Deadline) -> str:
    name = one_off_name(replay.run, step)
    while True:
        pod = replay.cluster.get(PODS, replay.namespace, name) or {}
        phase = part(pod, "status").get("phase", "")
        if phase in ("Succeeded", "Failed"):
            log = _log(replay, name)
            if phase == "Succeeded":
                return log
            why = part(pod, "status").get("reason") or "it failed"
            raise DrtoolError(f"its pod: {why}: {_end_of(log)}", hint="See to what it says, and resume.")
        if not pod:
            raise TemporaryFailure("its pod was deleted by somebody", hint="Resume: it runs again.")
        if deadline.is_over():
            fault = pod_fault(pod, [])
            why = fault.message if fault else f"pod {name} did not end in time"
            raise TemporaryFailure(why, hint=fault.hint if fault else "Give it more time, and resume.")
        deadline.wait()


def _log(replay: Replay, name: str) -> str:
    query = urlencode({"container": CONTAINER, "tailLines": _LINES})
    return replay.cluster.text(f"{PODS.path(replay.namespace, name)}/log?{query}", f"read the log of {name}")


def run_command(
    replay: Replay,
    workload: str,
    container: str | None,
    argv: tuple[str, ...],
    deadline: Deadline,
    limit_s: float,
) -> Executed:
    """Run argv in the first ready pod of a workload, which is waited for. Raises what `execute` raises."""
    while not (pods := list(ready_pods(replay, workload))):
        if deadline.is_over():
            why = next(unready(replay, _workload(replay, workload)), SILENT)
            raise TemporaryFailure(f"no pod of {workload} is ready: {why}", hint="Mend that, and resume.")
        deadline.wait()
    pod = pods[0]
    annotations = part(pod, "metadata", "annotations")
    name = container or annotations.get(_DEFAULT) or spec_of(pod)["containers"][0]["name"]
    where = (replay.namespace, pod["metadata"]["name"], name)
    return execute(replay.cluster, where, argv, deadline_s=limit_s, ending=replay.session.world.ending)


def ready_pods(replay: Replay, workload: str) -> Iterator[Json]:
    """Yield the ready pods of a workload that comes back, by name. Raises Refused for one that does not."""
    labels = part(_workload(replay, workload), "spec", "selector", "matchLabels")
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    query = urlencode({"labelSelector": selector, "limit": _PODS_MOST})
    listed = replay.cluster.ask(
        "GET", f"{PODS.path(replay.namespace)}?{query}", f"list the pods of {workload}"
    )
    for pod in sorted(listed.get("items") or [], key=lambda each: str(each["metadata"]["name"])):
        conditions = part(pod, "status").get("conditions") or []
        is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        if is_ready and "deletionTimestamp" not in pod["metadata"]:
            yield pod


def _workload(replay: Replay, name: str) -> Json:
    for each in replay.objects.values():
        if each.ref.name == name and is_workload(*each.ref[:2]):
            return each.item
    raise Refused(f"no workload {name} comes back", hint="Correct workload in the policy.")


def failure_of(ended: Executed) -> str:
    """Return how a command failed, in a line; empty where it did not."""
    if ended.exit_code == 0:
        return ""
    said = (ended.stderr or ended.stdout).decode(errors="replace")
    return f"it ended with {ended.exit_code}: {_end_of(said)}"


def _end_of(text: str) -> str:
    return " ".join(text.split())[-_MESSAGE:] or "it said nothing"
