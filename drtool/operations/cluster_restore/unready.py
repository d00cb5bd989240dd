"""Why the pods of a workload are not ready, as their statuses and events tell."""

from collections.abc import Iterator, Sequence
from typing import Final

from drtool.operations.cluster_restore.kinds import live
from drtool.operations.cluster_restore.replay import Replay
from drtool.recovery.manifests.objects import Json, part, spec_of
from drtool.sources.kubernetes.client import Resource
from drtool.sources.kubernetes.known import EVENTS, PODS
from drtool.sources.kubernetes.pod_faults import pod_fault

SILENT: Final = "its pods say no reason"


def unready(replay: Replay, item: Json) -> Iterator[str]:
    """Yield why the pods of a workload are not ready: what keeps them from starting, else what they say themselves."""
    events = _list(replay, EVENTS)
    wanted = part(spec_of(item), "selector", "matchLabels") or part(spec_of(item), "selector")
    for pod in _list(replay, PODS):
        if not wanted.items() <= part(pod, "metadata", "labels").items():
            continue
        name = pod["metadata"]["name"]
        own = _of(events, pod)
        fault = pod_fault(pod, own)
        if fault is not None:
            yield f"{fault.message}{_last_words(pod)}"
        elif not _is_pod_ready(pod):
            yield f"pod {name} is not ready: {own[-1]['message'] if own else 'its probe does not pass'}"
    found = live(replay, item)
    yield from (each["message"] for each in (_of(events, found) if found is not None else []))


def _of(events: Sequence[Json], item: Json) -> list[Json]:
    """Return the Events of an object itself: those of an earlier one of its name outlive it by an hour."""
    return [each for each in events if part(each, "involvedObject").get("uid") == item["metadata"]["uid"]]


def _last_words(pod: Json) -> str:
    """Return how a container of a pod ended last; empty where none did."""
    for each in part(pod, "status").get("containerStatuses") or []:
        ended = part(each, "lastState", "terminated")
        if ended:
            said = " ".join(str(ended.get("message") or ended.get("reason") or "").split())
            return f"; container {each['name']} ended with {ended.get('exitCode')}{said and f': {said}'}"
    return ""


def _is_pod_ready(pod: Json) -> bool:
    conditions = part(pod, "status").get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _list(replay: Replay, resource: Resource) -> Sequence[Json]:
    return [each for page in replay.cluster.pages(resource, replay.namespace) for each in page]
