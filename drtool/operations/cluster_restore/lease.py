"""One drtool at a time: a Lease in the target's namespace, renewed while a run works there.

Clocks of machines differ, so nobody's time is compared with another's: a Lease is free once nobody was seen to renew
it for as long as it says, by the watch of who waits for it.

An API that is away is waited for, here as everywhere. Others may see one that we do not see, so whoever has not renewed
the Lease for as long as it lasts changes nothing until it is known whose it is: neither the cluster nor the journal.
A laptop that slept has not renewed it for as long as it slept.
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
from drtool.sources.kubernetes.client import PATIENCE_S, Cluster
from drtool.sources.kubernetes.faults import Absent, Conflict, Forbidden
from drtool.sources.kubernetes.known import LEASES

NAME: Final = "drtool-restore"
LASTS_S: Final = 30
RENEWED_S: Final = 10.0
GIVEN_UP_S: Final = (
    LASTS_S + PATIENCE_S
)  # without a renewal; who asks the API for anything has given up by then
_AGAIN_S: Final = 1.0  # after a renewal that failed
_PAUSE_S: Final = 0.5

Assure = Callable[[], None]


class Taken(TemporaryFailure):
    """Somebody else has the Lease: what happens in the namespace is theirs to decide."""


@contextmanager
def held_lease(
    cluster: Cluster, namespace: str, holder: str, world: World, on_lost: Callable[[TemporaryFailure], None]
) -> Iterator[Assure]:
    """Hold the Lease of namespace; give what assures that it is ours, which whoever changes something asks before.

    on_lost is told once that somebody else has it, or that nobody let us renew it for long. What assures raises the
    same then, and before that waits while it is not known whose it is. Waits for a holder who is not seen to renew it.
    Raises Refused for one who is. What was lost is left as it is.
    """
    acquired = _acquire(cluster, namespace, holder, world)
    held = _Held(cluster, namespace, holder, world, on_lost, acquired)
    # An answer may take longer than the Lease lasts, so who watches the time is not who asks. Nor is it waited for.
    for work in (held.renew, held.watch):
        threading.Thread(target=work, name=f"drtool-lease-{work.__name__}", daemon=True).start()
    try:
        yield held.assure
    finally:
        held.leave()


@dataclass(slots=True)
class _Held:
    """A Lease that is ours until leave. renewed is when we last asked for a renewal that was granted.

    It may be another's once it has lasted, whether or not we slept; awake is the same by the clock that stands still
    then, for who has slept has not tried in vain.
    """

    cluster: Cluster
    namespace: str
    holder: str
    world: World
    on_lost: Callable[[TemporaryFailure], None]
    renewed: float
    awake: float = field(default_factory=time.monotonic)
    _lost: TemporaryFailure | None = None
    _left: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def assure(self) -> None:
        """Return while it is ours, or left; wait while nobody knows. Raises TemporaryFailure once it is lost."""
        with self._changed:
            while not self._left.is_set() and self.world.elapsed() >= self.renewed + LASTS_S:
                if self.world.ending.is_set():
                    raise TemporaryFailure(
                        "drtool was asked to end", hint="Nothing is lost: what was done stays done."
                    )
                self._changed.wait(_PAUSE_S)
            if self._lost is not None:
                raise self._lost

    def renew(self) -> None:
        """Renew it until it is left or lost."""
        pause = RENEWED_S
        while not self._left.wait(pause):
            pause, asked, awake = RENEWED_S, self.world.elapsed(), time.monotonic()
            try:
                theirs = self._renewed_once()
            except DrtoolError:
                pause = min(_AGAIN_S, RENEWED_S)
                continue
            if theirs:
                return self._lose(theirs)
            with self._changed:
                self.renewed, self.awake = asked, awake
                self._changed.notify_all()
        return None

    def watch(self) -> None:
        """Lose it when nobody has let us renew it for long: the API is away, or we are away from it."""
        while not self._left.wait(max(0.0, self.awake + GIVEN_UP_S - time.monotonic())):
            if time.monotonic() >= self.awake + GIVEN_UP_S:
                return self._lose(_unrenewed())
        return None

    def leave(self) -> None:
        """Delete it, unless it is not ours any more."""
        with self._changed:
            self._left.set()
            self._changed.notify_all()
        if self._lost is not None:
            return
        with suppress(DrtoolError):  # it is free once nobody renews it
            found = _get(self.cluster, self.namespace)
            if found and _holder(found) == self.holder:
                metadata = found["metadata"]
                only = {key: metadata[key] for key in ("uid", "resourceVersion")}
                _ask(self.cluster, "DELETE", self.namespace, {"preconditions": only}, absent=True)

    def _renewed_once(self) -> Taken | None:
        """Return that it is not ours any more; None where it still is, renewed.

        Raises what the API raises, Conflict for who came in between.
        """
        found = _get(self.cluster, self.namespace)
        if found and _holder(found) != self.holder:
            return _taken(self.namespace, _holder(found))
        if found:
            _put(self.cluster, self.namespace, self.holder, self.world, found)
            return None
        with suppress(Absent, Forbidden):  # its namespace is deleted with it: nobody else can have one there
            _make(self.cluster, self.namespace, self.holder, self.world)
        return None

    def _lose(self, fault: TemporaryFailure) -> None:
        with self._changed:
            if self._left.is_set():
                return
            self._lost = fault
            self._left.set()
            self._changed.notify_all()
        self.on_lost(fault)


def _acquire(cluster: Cluster, namespace: str, holder: str, world: World) -> float:
    """Return, once the Lease is ours, when we asked for it. A holder is waited for as long as it said that it lasts."""
    seen, deadline = "", Deadline(world, 0)
    while True:
        asked = world.elapsed()
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


def _taken(namespace: str, holder: str) -> Taken:
    """Return the error of a run whose Lease is not ours any more; holder is empty where nobody is named."""
    by = (
        f"held by {holder} now, who works on it"
        if holder
        else "nobody's now, and was not given up by this run"
    )
    return Taken(
        f"the Lease of the namespace is {by}, so this run stopped",
        hint=f"See what happens there: `kubectl --namespace {namespace} get lease {NAME}`; then resume the run.",
    )


def _unrenewed() -> TemporaryFailure:
    return TemporaryFailure(
        f"the Lease of the namespace could not be renewed for {GIVEN_UP_S:g} s, so the run stopped",
        hint="See whether the cluster's control plane is up; it was waited for.",
    )
