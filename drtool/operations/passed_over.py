"""Which points are newer than the one that a restore takes, and why it does not take them: that is told, always."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from drtool.errors import SignerEnded
from drtool.operations.points import Inventory, moment_of, points_of, why_of
from drtool.operations.results import Point
from drtool.policy.moments import to_second
from drtool.repository.records import Unreadable

_TAKEN_BY: Final = {"late": "--accept-late takes it", "void": "--accept-void takes it"}


def passed_over(
    inventory: Inventory, chosen: str, at: datetime | None, not_whole: Mapping[str, str]
) -> list[Point]:
    """Return the points newer than the chosen one that the store holds up to at and nobody may choose, oldest first.

    inventory is that of all points; not_whole tells by name what points lack that were looked at and not taken.
    """
    newer = [
        replace(each, state="not whole", detail=not_whole[each.name]) if each.name in not_whole else each
        for each in points_of(inventory)
        if moment_of(each.name) > moment_of(chosen)
    ]
    found = [each for each in newer if each.state != "listed" and (at is None or each.begin <= at)]
    return sorted(found, key=lambda point: moment_of(point.name))


def way_of(unreadable: Unreadable) -> str:
    """Return what can be done for a point that came after its writer's end; nothing for any other."""
    return unreadable.fault.hint if isinstance(unreadable.fault, SignerEnded) else ""


def unread_before(inventory: Inventory, at: datetime | None) -> Iterator[str]:
    """Yield which points up to at cannot be read, where inventory has no other one up to then that may be chosen.

    One of them would be taken, could it be read. Where there is another one, something else keeps it from being taken.
    """
    if any(at is None or each.end <= at for each in inventory.snapshots.values()):
        return
    found = [each for each in inventory.unreadable if at is None or moment_of(each.name) <= at]
    if found:
        newest = found[-1]
        number = "1 point" if len(found) == 1 else f"{len(found)} points"
        yield f"Of those before it {number} cannot be read; the newest is {newest.name}: {why_of(newest)}."
        yield way_of(newest)


def passed_over_notes(points: Sequence[Point]) -> Iterator[str]:
    """Yield what to say of them, the newest first."""
    for each in reversed(points):
        why = f"{each.state}: {each.detail}" if each.detail else each.state
        way = f"; {_TAKEN_BY[each.state]}" if each.state in _TAKEN_BY else ""
        yield f"not taken, though newer: {each.name}, of {to_second(each.end)}, is {why}{way}"
