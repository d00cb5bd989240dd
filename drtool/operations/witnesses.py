"""Who says so: the signed facts of WAL objects, and the marks in them. Each object is asked for once."""

from collections.abc import Iterable, Iterator

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.format.names import parse_json_time
from drtool.repository.format.record import Json
from drtool.repository.wal import StoredWal as WalEntry
from drtool.repository.wal import WalStore
from drtool.sources.postgres.coverage import Mark
from drtool.sources.postgres.wal import parse_lsn


def signed_facts(store: WalStore, entry: WalEntry) -> Json | None:
    """Return an object's signed facts, or None when it has none: it is no witness then, and verify names it."""
    try:
        return store.facts(entry.stored)
    except (Corrupt, ObjectMissing):
        return None


class Witnesses:
    """The facts of the objects that were asked for, each fetched once."""

    def __init__(self, store: WalStore) -> None:
        self._store = store
        self._asked: dict[str, tuple[WalEntry, Json | None]] = {}

    def facts(self, entry: WalEntry) -> Json | None:
        """Return the signed facts of an object, or None when nobody who may has signed it."""
        if entry.name not in self._asked:
            self._asked[entry.name] = entry, signed_facts(self._store, entry)
        return self._asked[entry.name][1]

    def ask(self, entries: Iterable[WalEntry], enough: int) -> int:
        """Ask for facts in the order of entries until enough of them were signed; return how many were."""
        signed = 0
        for entry in entries:
            if signed == enough:
                break
            signed += self.facts(entry) is not None
        return signed

    def refused(self, entry: WalEntry) -> bool:
        """Tell whether an object was asked for and has no signed facts."""
        return entry.name in self._asked and self._asked[entry.name][1] is None

    def marks(self) -> Iterator[Mark]:
        """Yield the marks in all the facts that were asked for."""
        for entry, facts in self._asked.values():
            if facts is None or not facts.get("flush"):
                continue
            try:
                yield _mark(entry.timeline, facts)
            except (Corrupt, KeyError, ValueError, TypeError, AttributeError):
                continue  # signed, but no mark


def _mark(timeline: int, facts: Json) -> Mark:
    heartbeat = facts.get("heartbeat") or {}
    return Mark(
        time=parse_json_time(facts["time"]),
        timeline=timeline,
        flush_lsn=parse_lsn(facts["flush"]),
        heartbeat_lsn=parse_lsn(heartbeat["lsn"]) if heartbeat else None,
        heartbeat_time=parse_json_time(heartbeat["time"]) if heartbeat else None,
    )
