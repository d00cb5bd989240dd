"""Whether a point is whole: everything that its lists name is in the store. Asks for listings, and opens no pack."""

from collections.abc import Iterable

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.format.places import PackRef
from drtool.repository.lists import read_list
from drtool.repository.needs import needs_of
from drtool.repository.records import stored_objects
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot


class Wholeness:
    """What there is, found by one listing of each week of packs that a point refers to, whatever the points.

    Points share most of their lists: each is read once. Of a list the packs are held, and each pack once.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._listed: dict[str, frozenset[str]] = {}
        self._packs: dict[PackRef, PackRef] = {}
        self._read: dict[str, tuple[PackRef, ...] | Corrupt | ObjectMissing] = {}

    def fault_of(self, snapshot: Snapshot) -> Corrupt | ObjectMissing | None:
        """Return what keeps a point from being whole; None where nothing does."""
        missing: dict[str, None] = {}
        for need in needs_of(snapshot, self._packs_of, self._is_listed):
            if need.fault is None:
                continue
            if need.pack is None:  # a list that is gone, or is not itself
                return need.fault
            missing[need.name] = None
        if not missing:
            return None
        first, *others = missing
        more = f", nor are {len(others)} more objects that it needs" if others else ""
        return ObjectMissing(f"{first} is not in the store{more}")

    def _packs_of(self, name: str) -> Iterable[PackRef]:
        known = self._read.get(name)
        if known is None:
            try:
                packs = read_list(self._repository.records, name).packs
                known = tuple(self._packs.setdefault(each, each) for each in packs)
            except (Corrupt, ObjectMissing) as fault:
                known = fault
            self._read[name] = known
        if isinstance(known, tuple):
            return known
        raise known

    def _is_listed(self, name: str) -> bool:
        week = name.rpartition("/")[0]
        known = self._listed.get(week)
        if known is None:
            found = stored_objects(self._repository.store, f"{week}/")
            known = self._listed[week] = frozenset(each.name for each in found)
        return name in known
