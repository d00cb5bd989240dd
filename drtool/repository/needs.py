"""What a point needs of the store: its lists, and the packs that they name. One walk for all who ask what is gone."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.format.places import PackRef
from drtool.repository.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Need:
    """An object that a point needs: a list of its own, or a pack that one of them names.

    fault is why a list cannot be read, or that a pack is not listed; None where nothing is wrong with it.
    """

    name: str
    pack: PackRef | None
    fault: Corrupt | ObjectMissing | None


def needs_of(
    snapshot: Snapshot, packs_of: Callable[[str], Iterable[PackRef]], is_listed: Callable[[str], bool]
) -> Iterator[Need]:
    """Yield each list of a point, and behind it the packs that it names: a pack may come once for each list.

    packs_of reads a list by its name, and raises Corrupt or ObjectMissing; is_listed tells whether a pack is there.
    """
    for name in (*snapshot.streams.content, *snapshot.streams.entries):
        try:
            packs = packs_of(name)
        except (Corrupt, ObjectMissing) as fault:
            yield Need(name, None, fault)
            continue
        yield Need(name, None, None)
        for pack in packs:
            found = pack_name(snapshot, pack)
            yield Need(
                found, pack, None if is_listed(found) else ObjectMissing(f"{found} is not in the store")
            )


def pack_name(snapshot: Snapshot, pack: PackRef) -> str:
    """Return the name in the store of a pack that a list of snapshot refers to."""
    return f"packs/{snapshot.volume}/{pack.name}"
