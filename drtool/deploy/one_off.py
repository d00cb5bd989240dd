"""A pod of a restore that does one thing in the namespace and ends: restricted, with no rights to the API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from drtool.deploy.mover import RUN_LABEL
from drtool.deploy.names import COMMON, Object, new
from drtool.deploy.pods import CONTAINER, DRTOOL_USER, RESOURCES, SECRETS_FOLDER, verbatim

_GRACE_S: Final = 10


@dataclass(frozen=True, slots=True)
class OneOff:
    """What runs: command in place of the image's own, or args for it; as whom; with which keys of which Secrets."""

    image: str
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    user: int = DRTOOL_USER
    group: int = DRTOOL_USER
    groups: Sequence[int] = ()
    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)


def one_off_name(run: str, step: str) -> str:
    """Return what the pod of a step is called."""
    return f"drtool-once-{sha256(f'{run}/{step}'.encode()).hexdigest()[:12]}"


def one_off_pod(run: str, step: str, does: OneOff, limit_s: int) -> Object:
    """Return the pod of a step, which is ended after limit_s seconds."""
    secrets = list(does.secrets.items())
    mounts = [
        {"name": f"secret-{number}", "mountPath": f"{SECRETS_FOLDER}/{name}", "readOnly": True}
        for number, (name, _) in enumerate(secrets)
    ]
    container: Object = {
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
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],  # noqa: S108 - in its own pod
    }
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": limit_s,
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": does.user,
            "runAsGroup": does.group,
            "supplementalGroups": list(does.groups),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": "128Mi"}},
            *(_secret(number, name, keys) for number, (name, keys) in enumerate(secrets)),
        ],
    }
    labels = {**COMMON, "app.kubernetes.io/component": "once", RUN_LABEL: run}
    return new("v1", "Pod", one_off_name(run, step), labels, spec=spec)


def _secret(number: int, name: str, keys: Sequence[str]) -> Object:
    items = [{"key": key, "path": key} for key in keys]
    return {"name": f"secret-{number}", "secret": {"secretName": name, "items": items, "optional": True}}
