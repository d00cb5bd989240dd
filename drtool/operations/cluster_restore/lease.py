"""One drtool at a time: a Lease in the target's namespace, renewed while a run works there.

Clocks of machines differ, so nobody's time is compared with another's: a Lease is free once nobody was seen to renew
it for as long as it says, by the watch of who waits for it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from drtool.errors import DrtoolError, Refused, TemporaryFailure
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.operations.session import World
from drtool.recovery.manifests.objects import Json, spec_of
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.faults import Absent, Conflict, Forbidden
from drtool.sources.kubernetes.known import LEASES

NAME: Final = "drtool-restore"
LASTS_S: Final = 30
RENEWED_S: Final = 10.0
_AGAIN_S: Final = 1.0  # after a renewal that failed


@contextmanager
def held_lease(
    cluster: Cluster, namespace: str, holder: str, world: World, on_lost: Callable[[], None]
) -> Iterator[None]:
    """Hold the Lease of namespace; on_lost is called once when somebody else has it, or nobody lets us renew it.

    Waits for a holder who is not seen to renew it. Raises Refused for one who is. What was lost is left as it is.
    """
    acquired = _acquire(cluster, namespace, holder, world)
    held = _Held(cluster, namespace, holder, world, on_lost, acquired)
    # An answer may take longer than the Lease lasts, so who watches the time is not who asks. Nor is it waited for.
    for work in (held.renew, held.watch):
        threading.Thread(target=work, name=f"drtool-lease-{work.__name__}", daemon=True).start()
    try:
        yield
    finally:
        held.leave()


@dataclass(slots=True)
class _Held:
    """A Lease that is ours until leave. renewed is when we last asked for a renewal that was granted."""

    cluster: Cluster
    namespace: str
    holder: str
    world: World
    on_lost: Callable[[], None]
    renewed: float
    _is_lost: bool = False
    _left: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def renew(self) -> None:
        """Renew it until it is left or lost."""
        pause = RENEWED_S
        while not self._left.wait(pause):
            pause, asked = RENEWED_S, time.monotonic()
            try:
                is_ours = self._renewed_once()
            except DrtoolError:
                pause = min(_AGAIN_S, RENEWED_S)
                continue
            if not is_ours:
                return self._lose()
            self.renewed = asked
        return None

    def watch(self) -> None:
        """Lose it when nobody has let us renew it for as long as it lasts: somebody else may have it then."""
        while not self._left.wait(max(0.0, self.renewed + LASTS_S - time.monotonic())):
            if time.monotonic() >= self.renewed + LASTS_S:
                return self._lose()
        return None

    def leave(self) -> None:
        """Delete it, unless it is not ours any more."""
        with self._lock:
            self._left.set()
        if self._is_lost:
            return
        with suppress(DrtoolError):  # it is free once nobody renews it
            found = _get(self.cluster, self.namespace)
            if found and _holder(found) == self.holder:
                metadata = found["metadata"]
                only = {key: metadata[key] for key in ("uid", "resourceVersion")}
                _ask(self.cluster, "DELETE", self.namespace, {"preconditions": only}, absent=True)

    def _renewed_once(self) -> bool:
        """Return whether it is still ours, renewed. Raises what the API raises, Conflict for who came in between."""
        found = _get(self.cluster, self.namespace)
        if found and _holder(found) != self.holder:
            return False
        if found:
            _put(self.cluster, self.namespace, self.holder, self.world, found)
            return True
        with suppress(Absent, Forbidden):  # its namespace is deleted with it: nobody else can have one there
            _make(self.cluster, self.namespace, self.holder, self.world)
        return True

    def _lose(self) -> None:
        with self._lock:
            if self._left.is_set():
                return
            self._is_lost = True
            self._left.set()
        self.on_lost()


def _acquire(cluster: Cluster, namespace: str, holder: str, world: World) -> float:
    """Return, once the Lease is ours, when we asked for it. A holder is waited for as long as it said that it lasts."""
    seen, deadline = "", Deadline(world, 0)
    while True:
        asked = time.monotonic()
        found = cluster.get(LEASES, namespace, NAME)
        version = str(found["metadata"]["resourceVersion"]) if found else ""
        try:
            if found is None:
                _make(cluster, namespace, holder, world)
                return asked
            if _holder(found) in ("", holder) or (version == seen and deadline.is_over()):
                _put(cluster, namespace, holder, world, found)
                return asked
        except Conflict:  # somebody was faster: whoever it is has it now
            deadline.wait()
            continue
        if seen and version != seen:
            since = spec_of(found).get("acquireTime", "an unknown time")
            raise Refused(
                f"namespace {namespace} is being restored by {_holder(found)} since {since}, who works on it now",
                hint="Wait for its end, or end it; what it began can be resumed.",
            )
        if not seen:
            lasts = spec_of(found).get("leaseDurationSeconds") or LASTS_S
            told = f"waiting up to {lasts} s to see whether {_holder(found)} still works on {namespace}"
            world.progress.note(told)
            seen, deadline = version, Deadline(world, lasts)
        deadline.wait()


def _get(cluster: Cluster, namespace: str) -> Json:
    """Return the Lease, {} where there is none. An API that is away is not waited for, here and below."""
    return _ask(cluster, "GET", namespace, absent=True)


def _make(cluster: Cluster, namespace: str, holder: str, world: World) -> None:
    target = LEASES.path(namespace)
    body = _body(namespace, holder, world)
    cluster.ask("POST", target, f"create Lease {NAME}", body, patience_s=0)


def _put(cluster: Cluster, namespace: str, holder: str, world: World, found: Json) -> None:
    _ask(cluster, "PUT", namespace, _body(namespace, holder, world, found))


def _ask(
    cluster: Cluster, method: str, namespace: str, body: Json | None = None, *, absent: bool = False
) -> Json:
    target, doing = LEASES.path(namespace, NAME), f"{method.lower()} Lease {NAME}"
    return cluster.ask(method, target, doing, body, patience_s=0, absent=absent)


def _holder(found: Json) -> str:
    return str(spec_of(found).get("holderIdentity") or "")


def _body(namespace: str, holder: str, world: World, found: Json | None = None) -> Json:
    """Return the Lease as ours, from now on: in the place of found, and of no later one."""
    now = f"{world.clock():%Y-%m-%dT%H:%M:%S.%fZ}"
    metadata: Json = {"name": NAME, "namespace": namespace}
    acquired, transitions = now, 0
    if found:
        before = spec_of(found)
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        transitions = int(before.get("leaseTransitions") or 0)
        if _holder(found) == holder:
            acquired = str(before.get("acquireTime") or now)
        else:
            transitions += 1
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": LASTS_S,
        "acquireTime": acquired,
        "renewTime": now,
        "leaseTransitions": transitions,
    }
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}


def lost() -> TemporaryFailure:
    """Return the error of a run whose Lease somebody else holds."""
    return TemporaryFailure(
        "the Lease of the namespace was lost: another drtool may work on it, so this one stopped",
        hint="See who holds it: `kubectl get lease drtool-restore`; then resume the run.",
    )
