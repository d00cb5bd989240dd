"""Whether the disks that a restore writes to have the room: all that it takes, by file system, told at once."""

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from drtool.errors import Refused
from drtool.policy.sizes import size


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes that what will take in place, which need not be there yet."""

    place: Path
    what: str
    count: int


def refuse_small_disks(demands: Iterable[Demand]) -> None:
    """Return when every file system has room for all that goes there. Raises Refused, which names each that has not."""
    sums: Counter[tuple[Path, str]] = Counter()
    for each in demands:
        sums[each.place, each.what] += each.count
    disks: dict[int, tuple[Path, Counter[str]]] = {}
    for (place, what), count in sums.items():
        nearest = next(path for path in (place, *place.absolute().parents) if path.exists())
        disks.setdefault(nearest.stat().st_dev, (nearest, Counter()))[1][what] += count
    short, facts = [], []
    for place, parts in disks.values():
        needed, free = parts.total(), shutil.disk_usage(place).free
        if free < needed:
            of = ", ".join(f"{size(count)} for {what}" for what, count in parts.items() if count)
            short.append(f"{place} has {_told(free)} free, and {_told(needed)} are needed: {of}")
            facts.append({"place": str(place), "free": free, "needed": needed, "parts": dict(parts)})
    if short:
        refused = Refused("; ".join(short), hint="Make room, or restore into another directory.")
        refused.facts = {"disks": facts}
        raise refused


def _told(count: int) -> str:
    """Return a size in words, and exactly: two that differ must not look alike."""
    return size(count) if size(count).endswith(" B") else f"{size(count)} ({count} bytes)"
