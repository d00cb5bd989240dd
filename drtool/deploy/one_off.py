"""A pod of a restore that does one thing in the namespace and ends: restricted, with no rights to the API."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from drtool.deploy.mover import RUN_LABEL
from drtool.deploy.names import COMMON, Object, new
from drtool.deploy.network import ANYWHERE
from drtool.deploy.pods import (
    BASELINE_CAPABILITIES,
    CLAIMS_FOLDER,
    CONTAINER,
    DRTOOL_USER,
    RESOURCES,
    SECRETS_FOLDER,
    verbatim,
)

_GRACE_S: Final = 10
_ONCE_LABEL: Final = "drtool.io/once"  # its pod and its NetworkPolicy, with their name


@dataclass(frozen=True, slots=True)
class OneOff:
    """What runs: command in place of the image's own, or args for it; as whom; with which keys of which Secrets.

    claim is mounted read-only in a folder of its name. placement are the fields of a pod that say where it may run.
    Of root's rights it has the one to read what is not its own, and only for a claim.
    """

    image: str
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    user: int = DRTOOL_USER
    group: int = DRTOOL_USER
    groups: Sequence[int] = ()
    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    claim: str = ""
    placement: Mapping[str, Any] = field(default_factory=dict)


def one_off_name(run: str, step: str) -> str:
    """Return what the pod of a step is called."""
    return f"drtool-once-{sha256(f'{run}/{step}'.encode()).hexdigest()[:12]}"


def one_off_pod(run: str, step: str, does: OneOff, limit_s: int) -> Object:
    """Return the pod of a step, which is ended after limit_s seconds."""
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": limit_s,
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **does.placement,
        "securityContext": {
            "runAsNonRoot": not _is_root(does),
            "runAsUser": does.user,
            "runAsGroup": does.group,
            "supplementalGroups": list(does.groups),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(does)],
        "volumes": list(_volumes(does)),
    }
    return new("v1", "Pod", one_off_name(run, step), _labels(run, step), spec=spec)


def one_off_network(run: str, step: str) -> Object:
    """Return the NetworkPolicy of the pod of a step: where nobody may connect to anything, it may all the same.

    To anything, for what it asks lies behind a Service, at another address and another port than are known.
    """
    spec = {
        "podSelector": {"matchLabels": _labels(run, step)},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [ANYWHERE],
    }
    name = one_off_name(run, step)
    return new("networking.k8s.io/v1", "NetworkPolicy", name, _labels(run, step), spec=spec)


def _labels(run: str, step: str) -> dict[str, str]:
    once = {"app.kubernetes.io/component": "once", _ONCE_LABEL: one_off_name(run, step)}
    return {**COMMON, **once, RUN_LABEL: run}


def _is_root(does: OneOff) -> bool:
    return bool(does.claim) and does.user == 0


def _container(does: OneOff) -> Object:
    mounts = {f"secret-{number}": f"{SECRETS_FOLDER}/{name}" for number, name in enumerate(does.secrets)}
    if does.claim:
        mounts["claim"] = f"{CLAIMS_FOLDER}/{does.claim}"
    return {
        "name": CONTAINER,
        "image": does.image,
        "imagePullPolicy": "IfNotPresent",
        **({"command": verbatim(does.command)} if does.command else {}),
        **({"args": verbatim(does.args)} if does.args else {}),
        "env": [{"name": "DRTOOL_SECRETS", "value": SECRETS_FOLDER}],
        "resources": RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {
                "drop": ["ALL"],
                **({"add": list(BASELINE_CAPABILITIES)} if _is_root(does) else {}),
            },
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in its own pod
            *({"name": name, "mountPath": path, "readOnly": True} for name, path in mounts.items()),
        ],
    }


def _volumes(does: OneOff) -> Iterator[Object]:
    yield {"name": "tmp", "emptyDir": {"sizeLimit": "128Mi"}}
    for number, (name, keys) in enumerate(does.secrets.items()):
        yield _secret(number, name, keys)
    if does.claim:
        yield {"name": "claim", "persistentVolumeClaim": {"claimName": does.claim}}


def _secret(number: int, name: str, keys: Sequence[str]) -> Object:
    items = [{"key": key, "path": key} for key in keys]
    return {"name": f"secret-{number}", "secret": {"secretName": name, "items": items, "optional": True}}
