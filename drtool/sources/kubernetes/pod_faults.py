"""Why a pod does not do its work, in plain words, from its status and its Events. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from drtool.sources.base import Json, Symptom

# What kubelet gives as the reason for a container that waits: what it means, what to do.
_WAITING: Final = {
    "ImagePullBackOff": ("its image cannot be pulled", "image"),
    "ErrImagePull": ("its image cannot be pulled", "image"),
    "ErrImageNeverPull": ("its image is not on the node, and may not be pulled", "image"),
    "InvalidImageName": ("the name of its image is none", "image"),
    "CreateContainerConfigError": ("its configuration names something that is not there", "config"),
    "CreateContainerError": ("its container cannot be made", "config"),
    "RunContainerError": ("its container cannot be started", "config"),
    "CrashLoopBackOff": ("it ends again and again", "logs"),
}
_HINTS: Final = {
    "image": "Look at the image's name and registry, and at imagePullSecrets of its ServiceAccount.",
    "config": "Make the Secret, ConfigMap or key that is named, or apply anew what `drtool render` wrote.",
    "logs": "`kubectl logs --previous` of that pod says why.",
}
_SERIES: Final = ("drtool.io/volume", "app.kubernetes.io/component")
_OVERDUE: Final = timedelta(minutes=1)  # kubelet removes a pod within seconds of the end of its grace
_MOUNTING: Final = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")


def pod_fault(pod: Json, events: Sequence[Json]) -> Symptom | None:
    """Return what keeps a pod from its work, None where nothing does. events are the pod's, oldest first."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return None
    for fault in (_evicted(status), _unscheduled(status), _waiting(status), _killed(status)):
        if fault:
            return Symptom("error", f"pod {name} {fault[0]}", fault[1])
    if is_pending(pod):
        return _mounting(name, events)
    return None


def is_pending(pod: Json) -> bool:
    """Return whether a pod has not begun its work."""
    return bool((pod.get("status") or {}).get("phase") == "Pending")


def job_of(pod: Json) -> str:
    """Return the name of the Job that a pod belongs to; empty for one of none."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((str(each["name"]) for each in owners if each["kind"] == "Job"), "")


def is_overdue(pod: Json, now: datetime) -> bool:
    """Return whether a pod was deleted, and is there long after its grace: the kubelet of its node says nothing."""
    end = pod["metadata"].get("deletionTimestamp")
    return end is not None and datetime.fromisoformat(end) + _OVERDUE < now


def is_outdone(pod: Json, others: Iterable[Json]) -> bool:
    """Return whether a pod failed, and a later one of the same volume did the same work well."""
    if (pod.get("status") or {}).get("phase") != "Failed":
        return False
    return any(
        _series(each) == _series(pod)
        and each["metadata"]["creationTimestamp"] > pod["metadata"]["creationTimestamp"]
        and _is_well(each.get("status") or {})
        for each in others
    )


def _series(pod: Json) -> list[str | None]:
    labels = pod["metadata"].get("labels") or {}
    return [labels.get(name) for name in _SERIES]


def _is_well(status: Json) -> bool:
    conditions = status.get("conditions") or []
    is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return is_ready or status.get("phase") == "Succeeded"


def _evicted(status: Json) -> tuple[str, str] | None:
    if status.get("reason") != "Evicted":
        return None
    why = _line(status.get("message"))
    hint = "Give the node more room, or the pod its requests; the next run begins anew."
    if "exceeds" in why:  # what the pod itself wrote, and not what others left of the node
        hint = "Raise the limit that is named, in what `drtool render` wrote; the next run begins anew."
    return f"was evicted from its node: {why}", hint


def _unscheduled(status: Json) -> tuple[str, str] | None:
    for each in status.get("conditions") or []:
        if each["type"] == "PodScheduled" and each["status"] == "False":
            return _misplaced(_line(each.get("message")))
    return None


def _misplaced(said: str) -> tuple[str, str]:
    """Return what the scheduler's word means: of a claim it says it in the same breath as of room."""
    if "persistentvolumeclaim" in said and "not found" in said:
        hint = "Make that claim, or correct `claim` in the policy and apply anew what `drtool render` writes."
        return f"waits for a claim that is not there: {said}", hint
    if "unbound" in said and "PersistentVolumeClaims" in said:
        return (
            f"waits for a claim that is not bound: {said}",
            "`kubectl describe pvc` of that claim says why.",
        )
    if "volume node affinity conflict" in said:
        hint = (
            "See that the node of its volume is there, ready, and where node_selector and tolerations lead."
        )
        return f"fits no node that can mount its claim: {said}", hint
    return f"fits no node: {said}", "Look at the nodes' room and taints, and to which node its claim is tied."


def _waiting(status: Json) -> tuple[str, str] | None:
    for each in _containers(status):
        waiting = (each.get("state") or {}).get("waiting") or {}
        known = _WAITING.get(waiting.get("reason", ""))
        if known:
            said = _line(waiting.get("message")) or waiting["reason"]
            return f"does not start, for {known[0]}: {said}", _HINTS[known[1]]
    return None


def _killed(status: Json) -> tuple[str, str] | None:
    for each in _containers(status):
        ended = (each.get("state") or {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            return "was killed, for it took more memory than its limit", "Raise the memory limit."
    return None


def _mounting(name: str, events: Sequence[Json]) -> Symptom | None:
    """Return why the volumes of a pod do not come, as its last Event says. Secrets are volumes, too."""
    failed = [each for each in events if each.get("reason") in _MOUNTING]
    if not failed:
        return None
    said = _line(failed[-1].get("message"))
    hint = "Look at the claim or Secret that is named."
    if "Multi-Attach" in said:
        hint = "The claim is ReadWriteOnce and in use on another node: drtool's pod must run beside the application's."
    return Symptom("error", f"pod {name} cannot mount a volume: {said}", hint)


def _containers(status: Json) -> Iterator[Json]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(kind) or []


def _line(text: object) -> str:
    return " ".join(str(text or "").split())
