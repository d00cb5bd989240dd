"""A pod that asks an image as whom its server runs, and where that keeps its data: a workload need not say. Pure."""

from typing import Final

from drtool.deploy.claim_job import restricted
from drtool.deploy.mover import Lender, Mover
from drtool.deploy.names import Object, new
from drtool.deploy.pods import verbatim

# What an image says of itself: as whom it starts, whom its server becomes, where that keeps its data.
_ASK: Final = """\
start=$(id -u); user=$start; group=$(id -g)
if [ "$start" = 0 ]; then
    for each in postgres redis valkey; do
        if id -u "$each" >/dev/null 2>&1; then user=$(id -u "$each"); group=$(id -g "$each"); break; fi
    done
fi
printf '%s %s %s %s' "$start" "$user" "$group" "${PGDATA:-}" >/dev/termination-log
"""


def image_pod(mover: Mover, lender: Lender) -> Object:
    """Return a pod that asks an image as whom it runs; its last word is the answer."""
    security: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    if lender.is_non_root:
        security["runAsNonRoot"] = True
    container = {
        "name": "ask",
        "image": lender.image,
        "imagePullPolicy": "IfNotPresent",
        "command": verbatim(["sh", "-c", _ASK]),
        "resources": dict(lender.resources),
        "securityContext": restricted(),
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": name} for name in lender.pull_secrets],
        "securityContext": security,
        **mover.runs.placement,
        "containers": [container],
    }
    return new("v1", "Pod", f"{mover.name}-ask", mover.labels, spec=spec)
