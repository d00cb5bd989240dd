"""Workloads that wait: as they are applied before their data is there, with what they were in an annotation.

PostgreSQL would make a new database on an empty volume, Redis would hand its emptiness to its replicas, a CronJob
would mail from half of the data. A workload that was captured while it waited keeps the annotation that it had.
"""

from copy import deepcopy
from typing import Final

from drtool.recovery.manifests.objects import Json, kind_of, part, spec_of

REPLICAS: Final = "drtool.io/replicas"
SUSPEND: Final = "drtool.io/suspend"
RETENTION: Final = "drtool.io/claim-retention"
NOWHERE: Final = "drtool.io/held"  # a label that no node has
_SCALED: Final = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
    }
)


def is_workload(group: str, kind: str) -> bool:
    """Return whether a kind is started in the testing phase."""
    return (group, kind) in _SCALED or (group, kind) == ("apps", "DaemonSet")


def unhold(item: Json) -> None:
    """Give item back what an annotation says that it was, if it was captured while it waited."""
    annotations, spec = part(item, "metadata", "annotations"), spec_of(item)
    if annotations.get(REPLICAS, "").isdecimal():  # what somebody else wrote there says nothing
        spec["replicas"] = int(annotations.pop(REPLICAS))
    if SUSPEND in annotations:
        spec["suspend"] = annotations.pop(SUSPEND) == "true"
    if annotations.get(RETENTION, "").count("/") == 1:
        deleted, scaled = annotations.pop(RETENTION).split("/")
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": deleted, "whenScaled": scaled}
    pod = part(spec, "template", "spec")
    if part(pod, "nodeSelector").pop(NOWHERE, None) and not pod["nodeSelector"]:
        del pod["nodeSelector"]


def hold(item: Json) -> Json:
    """Return item as it waits: nothing of it runs, nothing of it deletes a claim. Other objects are as they are."""
    kind = kind_of(item)
    if kind in _SCALED:
        held = _noted(item, REPLICAS, str(spec_of(item).get("replicas", 1)))
        held["spec"]["replicas"] = 0
        policy = part(held, "spec", "persistentVolumeClaimRetentionPolicy")
        if "Delete" in policy.values():
            said = f"{policy.get('whenDeleted', 'Retain')}/{policy.get('whenScaled', 'Retain')}"
            held["metadata"]["annotations"][RETENTION] = said
            policy.update(whenDeleted="Retain", whenScaled="Retain")
        return held
    if kind == ("apps", "DaemonSet"):
        held = deepcopy(item)
        held["spec"]["template"]["spec"].setdefault("nodeSelector", {})[NOWHERE] = "true"
        return held
    if kind == ("batch", "CronJob"):
        held = _noted(item, SUSPEND, "true" if spec_of(item).get("suspend") else "false")
        held["spec"]["suspend"] = True
        return held
    return item


def _noted(item: Json, annotation: str, value: str) -> Json:
    """Return a copy of item with an annotation."""
    copy = deepcopy(item)
    copy["metadata"].setdefault("annotations", {})[annotation] = value
    return copy
