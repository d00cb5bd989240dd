"""One drtool at a time: a Lease in the target's namespace, renewed while a run works there.

Clocks of machines differ, so nobody's time is compared with another's: a Lease is free once nobody was seen to renew
it for as long as it says, by the watch of who waits for it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from drtool.errors import DrtoolError, Refused, TemporaryFailure
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.operations.session import World
from drtool.recovery.manifests.objects import Json, spec_of
from drtool.sources.kubernetes import writing
from drtool.sources.kubernetes.client import Cluster, Resource
from drtool.sources.kubernetes.faults import Absent, Conflict

NAME: Final = "drtool-restore"
LASTS_S: Final = 30
RENEWED_S: Final = 10.0
_LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)


@contextmanager
def held_lease(
    cluster: Cluster, namespace: str, holder: str, world: World, on_lost: Callable[[], None]
) -> Iterator[None]:
    """Hold the Lease of namespace; on_lost is called once when somebody else has it, or nobody lets us renew it.

    Waits for a holder who is not seen to renew it. Raises Refused for one who is.
    """
    held = _acquire(cluster, namespace, holder, world)
    left = threading.Event()

    def renew() -> None:
        version, seen = str(held["metadata"]["resourceVersion"]), time.monotonic()
        while not left.wait(RENEWED_S):
            try:
                body = _body(namespace, holder, world, version)
                version = str(
                    writing.replace(cluster, _LEASES, namespace, body)["metadata"]["resourceVersion"]
                )
                seen = time.monotonic()
            except (Conflict, Absent):
                break
            except DrtoolError:
                if time.monotonic() - seen > LASTS_S:
                    break
        else:
            return
        on_lost()

    thread = threading.Thread(target=renew, name="drtool-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
        with suppress(DrtoolError):  # it is free once nobody renews it
            writing.delete(cluster, _LEASES, namespace, NAME, uid=str(held["metadata"]["uid"]))


def _acquire(cluster: Cluster, namespace: str, holder: str, world: World) -> Json:
    seen, deadline = "", Deadline(world, LASTS_S)
    while True:
        found = cluster.get(_LEASES, namespace, NAME)
        version = str(found["metadata"]["resourceVersion"]) if found else ""
        try:
            if found is None:
                return cluster.create(_LEASES, namespace, _body(namespace, holder, world))
            if version == seen and deadline.is_over():
                return writing.replace(cluster, _LEASES, namespace, _body(namespace, holder, world, version))
        except Conflict:
            continue
        if seen and version != seen:
            who = spec_of(found).get("holderIdentity", "somebody")
            raise Refused(
                f"namespace {namespace} is being restored by {who}, who works on it now",
                hint="Wait for its end, or end it; what it began can be resumed.",
            )
        if not seen:
            who = spec_of(found).get("holderIdentity", "somebody")
            world.progress.note(f"waiting up to {LASTS_S} s to see whether {who} still works on {namespace}")
            seen = version
        deadline.wait()


def _body(namespace: str, holder: str, world: World, version: str = "") -> Json:
    now = f"{world.clock():%Y-%m-%dT%H:%M:%S.%fZ}"
    metadata = {"name": NAME, "namespace": namespace, **({"resourceVersion": version} if version else {})}
    spec = {"holderIdentity": holder, "leaseDurationSeconds": LASTS_S, "acquireTime": now, "renewTime": now}
    return {"apiVersion": _LEASES.api_version, "kind": _LEASES.kind, "metadata": metadata, "spec": spec}


def lost() -> TemporaryFailure:
    """Return the error of a run whose Lease somebody else holds."""
    return TemporaryFailure(
        "the Lease of the namespace was lost: another drtool may work on it, so this one stopped",
        hint="See who holds it: `kubectl get lease drtool-restore`; then resume the run.",
    )
