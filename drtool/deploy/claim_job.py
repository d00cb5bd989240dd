"""The Jobs whose pods mount a claim: as whom they run, and what they may. They have no token of the API. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from drtool.deploy.names import Object, new
from drtool.deploy.pods import DRTOOL_USER
from drtool.deploy.workloads import failure_policy

# To give files back to their owners.
_ROOT_NEEDS: Final = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"]
_KEPT_S: Final = 2 * 24 * 3600
_TRIES: Final = 2
TMP: Final[Object] = {"name": "tmp", "emptyDir": {"sizeLimit": "128Mi"}}
TMP_MOUNT: Final[Object] = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - in its own pod


@dataclass(frozen=True, slots=True)
class Runs:
    """As whom the containers of a mover run, and on which nodes. user None: drtool's own."""

    user: int | None = None
    group: int | None = None
    fs_group: int | None = None
    groups: tuple[int, ...] = ()
    placement: Mapping[str, Any] = field(default_factory=dict)


def claim_pod(runs: Runs) -> Object:
    """Return what all pods that mount a claim have."""
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": _pod_security(runs),
        **runs.placement,
    }


def claim_job(name: str, labels: dict[str, str], pod: Object, *, suspend: bool = False) -> Object:
    """Return the Job of a pod. The first end that another try does not mend is its end."""
    spec = {
        "suspend": suspend,
        "backoffLimit": _TRIES,
        "ttlSecondsAfterFinished": _KEPT_S,
        "podFailurePolicy": failure_policy(),
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return new("batch/v1", "Job", name, labels, spec=spec)


def _pod_security(runs: Runs) -> Object:
    user = DRTOOL_USER if runs.user is None else runs.user
    security: Object = {"runAsUser": user, "seccompProfile": {"type": "RuntimeDefault"}}
    group = DRTOOL_USER if runs.user is None and runs.group is None else runs.group
    if user:
        security["runAsNonRoot"] = True
    for name, value in (("runAsGroup", group), ("fsGroup", runs.fs_group)):
        if value is not None:
            security[name] = value
    if runs.groups:
        security["supplementalGroups"] = list(runs.groups)
    return security


def restricted() -> Object:
    """Return what a container may that needs no right at all."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def security_of(runs: Runs) -> Object:
    """Return what a container of drtool's own may."""
    return {**(as_root() if runs.user == 0 else restricted()), "readOnlyRootFilesystem": True}


def as_root() -> Object:
    """Return what a container needs that gives files back to their owners."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": list(_ROOT_NEEDS)}}
