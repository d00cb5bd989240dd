"""Whether a point is whole: everything that its lists name is in the store. Asks for listings, and opens no pack."""

from collections.abc import Iterator

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.lists import read_list
from drtool.repository.records import stored_objects
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot


class Wholeness:
    """What there is, found by one listing of each week of packs that a point refers to, whatever the points."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._listed: dict[str, frozenset[str]] = {}

    def fault_of(self, snapshot: Snapshot) -> Corrupt | ObjectMissing | None:
        """Return what keeps a point from being whole; None where nothing does."""
        try:
            missing = dict.fromkeys(self._missing(snapshot))
        except (Corrupt, ObjectMissing) as fault:  # a list that is gone, or is not itself
            return fault
        if not missing:
            return None
        first, *others = missing
        more = f", nor are {len(others)} more objects that it needs" if others else ""
        return ObjectMissing(f"{first} is not in the store{more}")

    def _missing(self, snapshot: Snapshot) -> Iterator[str]:
        for name in (*snapshot.streams.content, *snapshot.streams.entries):
            for pack in read_list(self._repository.records, name).packs:
                found = f"packs/{snapshot.volume}/{pack.name}"
                if found not in self._in_week(found.rpartition("/")[0]):
                    yield found

    def _in_week(self, week: str) -> frozenset[str]:
        known = self._listed.get(week)
        if known is None:
            found = stored_objects(self._repository.store, f"{week}/")
            known = self._listed[week] = frozenset(each.name for each in found)
        return known
