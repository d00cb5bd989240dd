"""What runs is stopped for a while, in place: as it was stands in annotations of its own, so that nobody has to know.

A HorizontalPodAutoscaler lets alone what was scaled to 0.
"""

from copy import deepcopy
from typing import Final

from drtool.operations.cluster_restore.kinds import live, resource_of
from drtool.operations.cluster_restore.replay import Replay
from drtool.recovery.manifests.hold import REPLICAS, RETENTION, SUSPEND, hold, unhold
from drtool.recovery.manifests.objects import Json, annotations_of, kind_of, spec_of
from drtool.sources.kubernetes.writing import patch

_ANNOTATIONS: Final = (REPLICAS, SUSPEND, RETENTION)
_FIELDS: Final = ("replicas", "suspend", "persistentVolumeClaimRetentionPolicy")


def stop(replay: Replay, name: str) -> None:
    """Scale a workload to 0, or suspend a CronJob, unless that is done; what it was is noted in it.

    What somebody else started again meanwhile is stopped again, and keeps what was noted first.
    """
    found = _find(replay, name)
    if found is None or (_is_stopped(found) and not _runs(found)):
        return
    held = hold(found)
    first = {} if _is_stopped(found) else annotations_of(held)
    noted = {key: value for key, value in first.items() if key in _ANNOTATIONS}
    _change(replay, found, held, noted)


def start(replay: Replay, name: str) -> None:
    """Make a workload or a CronJob what it was before it was stopped; fine where it was not."""
    found = _find(replay, name)
    if found is None or not _is_stopped(found):
        return
    wanted = deepcopy(found)
    unhold(wanted)
    _change(replay, found, wanted, dict.fromkeys(key for key in _ANNOTATIONS if key in annotations_of(found)))


def start_first(replay: Replay, name: str) -> None:
    """Scale a StatefulSet to one pod, whose data the others clone before they start; fine where it has some."""
    found = _find(replay, name)
    if found is None or kind_of(found) != ("apps", "StatefulSet"):
        return
    if _is_stopped(found) and spec_of(found).get("replicas") == 0:
        _change(replay, found, {"spec": {"replicas": 1}}, {})


def running(replay: Replay, name: str) -> Json | None:
    """Return a workload or a CronJob that makes pods as it now stands; None for one that is stopped, or gone."""
    found = _find(replay, name)
    return found if found is not None and _runs(found) else None


def _find(replay: Replay, name: str) -> Json | None:
    """Return an object as it stands; None for one that is gone since the plan, or since a run before this one."""
    known = replay.objects.get(name)
    return None if known is None else live(replay, known.item)


def _runs(found: Json) -> bool:
    spec = spec_of(found)
    return not spec.get("suspend") if kind_of(found) == ("batch", "CronJob") else spec.get("replicas") != 0


def _is_stopped(found: Json) -> bool:
    return any(key in annotations_of(found) for key in _ANNOTATIONS)


def _change(replay: Replay, found: Json, wanted: Json, annotations: dict[str, str] | dict[str, None]) -> None:
    metadata = found["metadata"]
    spec = {key: spec_of(wanted)[key] for key in _FIELDS if key in spec_of(wanted)}
    change = {"metadata": {"annotations": annotations}, "spec": spec}
    patch(replay.cluster, resource_of(replay.cluster, found), metadata["namespace"], metadata["name"], change)
