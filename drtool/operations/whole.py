"""Which point a restore takes where something of the newest is gone from the store: that is told before it writes."""

from collections.abc import Callable, Sequence

from drtool.errors import Corrupt, ObjectMissing, Refused
from drtool.policy.moments import exact
from drtool.repository.snapshot import Snapshot

FaultOf = Callable[[Snapshot], Corrupt | ObjectMissing | None]

_MORE = "`drtool verify --level L0` tells what else is missing."


def newest_whole(
    newest_first: Sequence[Snapshot], fault_of: FaultOf, *, accept_loss: bool
) -> tuple[Snapshot, dict[str, str]]:
    """Return the newest point, and what those newer than it lack: none are newer but where that loss is accepted.

    Raises Refused where the newest is not whole, naming the newest of the older ones that is.
    """
    faults: dict[str, Corrupt | ObjectMissing] = {}
    older: Snapshot | None = None
    for each in newest_first:
        fault = fault_of(each)
        if fault is None:
            older = each
            break
        faults[each.name] = fault
    if older is not None and (accept_loss or not faults):
        return older, {name: fault.message for name, fault in faults.items()}
    newest, fault = newest_first[0], faults[newest_first[0].name]
    raise not_whole(newest, fault, _way(newest, older)) from fault


def not_whole(snapshot: Snapshot, fault: Corrupt | ObjectMissing, way: str) -> Refused:
    """Return the error, to be raised from fault, for a point that something is gone of; way says what may be taken.

    It is a refusal, whatever the fault: the store has answered, and nothing was touched.
    """
    return Refused(f"{snapshot.name} is not whole: {fault.message}", hint=f"{way} {_MORE}")


def _way(newest: Snapshot, older: Snapshot | None) -> str:
    if older is None:
        return no_older(newest.volume)
    way = f"take it with --at {exact(older.end)}, or with --accept-loss."
    return f"The newest one that is whole is {older.name}: {way}"


def no_older(volume: str, what: str = "is whole") -> str:
    """Return what can be done where no older point can be taken."""
    back = "Bring what is gone back from a copy of the repository, or from an older version in the bucket."
    return f"No older point of {volume} {what}. {back}"
