"""The pod that looks whether a node can pull and run an image. It has no token, no claim, and nothing of a system."""

from typing import Any, Final

from drtool.deploy.names import Object
from drtool.deploy.pods import verbatim

USER: Final = 65534  # nobody: what an image's own user may do is not asked
# No program of the image runs but its shell, and its servers to tell their versions. Their words are what the pod
# leaves behind: the message of its end.
_TELL: Final = (
    "exec >/dev/termination-log 2>/dev/null; "
    'postgres --version || for each in /usr/lib/postgresql/*/bin/postgres; do "$each" --version; done; '
    "redis-server --version || valkey-server --version; :"
)


def image_probe(metadata: Object, image: str, *, pull: str, secrets: list[str], placed: Object) -> Object:
    """Return the pod for image. placed are those parts of a pod's spec that say on which nodes it may run."""
    security: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "probe",
        "image": image,
        "imagePullPolicy": pull,
        "command": verbatim(["/bin/sh", "-c", _TELL]),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**security, "readOnlyRootFilesystem": True},
        "resources": {
            "requests": {"cpu": "1m", "memory": "16Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            **placed,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "imagePullSecrets": [{"name": name} for name in secrets],
            "containers": [container],
        },
    }
