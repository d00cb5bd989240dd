"""What the repository holds of a PostgreSQL volume, in the words of its source: bases, WAL, marks.

Only names and signed facts are read, so the list key is enough; no byte of the application is opened.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from drtool.errors import Corrupt
from drtool.repository.format.names import parse_json_time
from drtool.repository.format.record import Json
from drtool.repository.records import Records
from drtool.repository.snapshot import Snapshot
from drtool.repository.wal import Lineage as WalLineage
from drtool.repository.wal import StoredWal as WalEntry
from drtool.repository.wal import WalStore, lineages
from drtool.sources.postgres.coverage import Base, Lineage, Mark, StoredWal, Tail
from drtool.sources.postgres.wal import Ancestor, is_segment_name, parse_lsn, parse_segment_name

_NEWEST_TAILS = 6  # whose facts are read for their marks; older tails are known by name alone
_AROUND = 3  # tails before and after a moment that was asked about


@dataclass(frozen=True, slots=True)
class Held:
    """The WAL of one lineage: as the source reasons about it, and the objects behind it by what they hold."""

    wal: StoredWal
    store: WalStore
    segments: dict[tuple[int, int], WalEntry]
    tails: dict[Tail, WalEntry]
    histories: dict[int, WalEntry]


def base_of(snapshot: Snapshot) -> Base:
    """Return a snapshot of a PostgreSQL volume as the base backup that it is. Raises Corrupt."""
    facts = snapshot.facts
    try:
        return Base(
            id=snapshot.name,
            lineage=Lineage(int(facts["system_identifier"]), int(facts["major"]), int(facts["epoch"])),
            timeline=int(facts["timeline"]),
            start_lsn=parse_lsn(facts["start_lsn"]),
            end_lsn=parse_lsn(facts["end_lsn"]),
            begin=parse_json_time(facts["server_begin"]),
            end=parse_json_time(facts["server_end"]),
            wal_segment_size=int(facts["wal_segment_size"]),
            degraded=bool(facts.get("degraded")),
        )
    except (KeyError, ValueError, TypeError) as fault:
        raise Corrupt(f"{snapshot.name}: its facts are not those of a base backup: {fault}") from fault


def lineage_label(volume: str, lineage: Lineage) -> WalLineage:
    """Return a source's lineage as the repository names it."""
    return WalLineage(volume, str(lineage.system_identifier), lineage.major, lineage.epoch)


def held_lineages(
    records: Records, volume: str, sizes: dict[Lineage, int], at: datetime | None
) -> dict[Lineage, Held]:
    """Return the WAL of each lineage whose segment size (bytes) is known; at sharpens the marks around it."""
    found: dict[Lineage, Held] = {}
    for label in lineages(records, volume):
        lineage = Lineage(int(label.system), label.major, label.epoch)
        if lineage in sizes:
            found[lineage] = read_held(WalStore(records, label), sizes[lineage], at)
    return found


def read_held(store: WalStore, segment_size: int, at: datetime | None = None) -> Held:
    """Return what store holds, from one listing and the facts of a few objects."""
    segments: dict[tuple[int, int], WalEntry] = {}
    histories: dict[int, WalEntry] = {}
    for entry in store.segments():
        if is_segment_name(entry.file):
            start = parse_segment_name(entry.file, segment_size)[1]
            first = segments.setdefault((entry.timeline, start), entry)
            if entry.received < first.received:
                segments[entry.timeline, start] = entry
        else:
            histories.setdefault(entry.timeline, entry)
    tails = [entry for entry in store.tails() if entry.start is not None and entry.end is not None]
    wal = StoredWal(
        segment_size=segment_size,
        complete=frozenset(segments),
        tails=[_tail(entry) for entry in tails if entry.end != entry.start],
        histories=_ancestors(store, histories),
        marks=_marks(store, [*_telling(tails, at), *_last(segments)]),
    )
    by_tail = {_tail(entry): entry for entry in tails if entry.end != entry.start}
    return Held(wal, store, segments, by_tail, histories)


def _tail(entry: WalEntry) -> Tail:
    return Tail(entry.timeline, entry.start or 0, entry.end or 0)


def _last(segments: dict[tuple[int, int], WalEntry]) -> list[WalEntry]:
    return [segments[max(segments)]] if segments else []


def _telling(tails: Sequence[WalEntry], at: datetime | None) -> list[WalEntry]:
    """Return the tails whose marks matter: the newest ones, and those stored just before and after at."""
    ordered = sorted(tails, key=lambda entry: (entry.timeline, entry.end or 0, entry.received))
    chosen = {entry.name: entry for entry in ordered[-_NEWEST_TAILS:]}
    if at is not None:
        by_time = sorted(tails, key=lambda entry: entry.received)
        before = [entry for entry in by_time if entry.received <= at][-_AROUND:]
        after = [entry for entry in by_time if entry.received > at][:_AROUND]
        chosen |= {entry.name: entry for entry in [*before, *after]}
    return list(chosen.values())


def _marks(store: WalStore, entries: Iterable[WalEntry]) -> list[Mark]:
    marks = []
    for entry in entries:
        try:
            facts = store.facts(entry.stored)
            if facts.get("flush"):
                marks.append(_mark(entry.timeline, facts))
        except (Corrupt, KeyError, ValueError):
            continue  # an object that cannot be believed is no witness; verify names it
    return marks


def _mark(timeline: int, facts: Json) -> Mark:
    heartbeat = facts.get("heartbeat") or {}
    return Mark(
        time=parse_json_time(facts["time"]),
        timeline=timeline,
        flush_lsn=parse_lsn(facts["flush"]),
        heartbeat_lsn=parse_lsn(heartbeat["lsn"]) if heartbeat else None,
        heartbeat_time=parse_json_time(heartbeat["time"]) if heartbeat else None,
    )


def _ancestors(store: WalStore, histories: dict[int, WalEntry]) -> dict[int, tuple[Ancestor, ...]]:
    found = {}
    for timeline, entry in histories.items():
        try:
            rows = store.facts(entry.stored)["ancestors"]
            found[timeline] = tuple(Ancestor(int(row[0]), parse_lsn(row[1]), "") for row in rows)
        except (Corrupt, KeyError, ValueError):
            continue
    return found
