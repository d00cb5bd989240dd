"""What changes a cluster: server-side apply, merge patches, deletions; and waiting for what is deleted."""

import threading
import time
from typing import Final, Literal
from urllib.parse import urlencode

from drtool.errors import TemporaryFailure
from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.faults import Answer
from drtool.sources.kubernetes.resource import Resource

Propagation = Literal["Foreground", "Background", "Orphan"]

_PAUSE_S: Final = 0.5


def apply(cluster: Cluster, resource: Resource, body: Json, manager: str, *, force: bool = False) -> Json:
    """Make an object what body says, field by field, as manager, and return it as it is stored.

    Raises Conflict where another manager owns a field, unless force takes it over.
    """
    return cluster.ask("PATCH", *_applying(resource, body, manager, force=str(force).lower()), body)


def try_apply(cluster: Cluster, resource: Resource, body: Json, manager: str) -> Answer:
    """Return what the server says to body, applied with force as `apply` does it, and not stored."""
    return cluster.tried("PATCH", *_applying(resource, body, manager, force="true", dryRun="All"), body)


def _applying(resource: Resource, body: Json, manager: str, **how: str) -> tuple[str, str]:
    """Return where an object is applied, and what that does."""
    metadata = body["metadata"]
    query = urlencode({"fieldManager": manager, "fieldValidation": "Strict", **how})
    target = resource.path(metadata.get("namespace"), metadata["name"])
    return f"{target}?{query}", f"apply {resource.name} {metadata['name']}"


def patch(cluster: Cluster, resource: Resource, namespace: str | None, name: str, change: Json) -> Json:
    """Merge change into an object and return it as it is stored. Raises Absent, Conflict."""
    target = resource.path(namespace, name)
    return cluster.ask("PATCH", target, f"change {resource.name} {name}", change)


def replace(cluster: Cluster, resource: Resource, namespace: str | None, body: Json) -> Json:
    """Put body in the place of an object. With a resourceVersion in it, only that one. Raises Absent, Conflict."""
    name = body["metadata"]["name"]
    return cluster.ask("PUT", resource.path(namespace, name), f"replace {resource.name} {name}", body)


def delete(
    cluster: Cluster,
    resource: Resource,
    namespace: str | None,
    name: str,
    *,
    propagation: Propagation = "Background",
    uid: str = "",
) -> None:
    """Have an object deleted; fine where it is not there. uid: this one alone, else Conflict is raised.

    Finalizers may hold it for a while: `wait_until_gone`.
    """
    options: Json = {"propagationPolicy": propagation}
    if uid:
        options["preconditions"] = {"uid": uid}
    doing = f"delete {resource.name} {name}"
    cluster.ask("DELETE", resource.path(namespace, name), doing, options, absent=True)


def wait_until_gone(
    cluster: Cluster,
    resource: Resource,
    namespace: str | None,
    name: str,
    *,
    deadline_s: float,
    ending: threading.Event,
) -> None:
    """Return once an object is not there any more. Raises TemporaryFailure with what holds it."""
    deadline = time.monotonic() + deadline_s
    while (found := cluster.get(resource, namespace, name)) is not None:
        if time.monotonic() > deadline or ending.wait(_PAUSE_S):
            held = found["metadata"].get("finalizers") or []
            raise TemporaryFailure(
                f"{resource.kind} {name} is being deleted and still there"
                + (f": finalizers {', '.join(held)} hold it" if held else ""),
                hint="See what its controller waits for; drtool forces no finalizer away.",
            )
