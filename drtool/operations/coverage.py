"""What the repository holds of a PostgreSQL volume, in the words of its source: bases, WAL, marks.

Only names and signed facts are read, so the list key is enough; no byte of the application is opened. A name proves
nothing, for others than the writer may be able to put objects. So the newest segment and tails of each timeline count
only when they are signed, which costs one small GET each; older ones are authenticated when a restore reads them. Of
several objects of one name the first received that authenticates is taken: what is put there first hides nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from drtool.errors import Corrupt, ObjectMissing
from drtool.operations.witnesses import Witnesses, signed_facts
from drtool.repository.format.names import parse_json_time
from drtool.repository.records import Records, arrival
from drtool.repository.snapshot import Snapshot
from drtool.repository.unwrap import HeadKeys
from drtool.repository.wal import Lineage as WalLineage
from drtool.repository.wal import StoredWal as WalEntry
from drtool.repository.wal import WalStore, lineages
from drtool.sources.postgres.coverage import Base, Lineage, SegmentPlan, StoredWal, Tail
from drtool.sources.postgres.wal import Ancestor, format_lsn, history_name, parse_lsn, parse_segment_name

_NEWEST_TAILS = 6  # of the newest timeline, whose facts are read for their marks; of the others one
_AROUND = 3  # tails before and after a moment that was asked about
_BREAKS = (
    4  # the newest places where complete segments stop: a base before one is covered by what lies around it
)
_BEYOND = 2  # tails read up to the end of the segment that is missing there
_BELOW = 1  # and up to where it begins
_AROUND_WAL = 1024 * 1024  # bytes, at most, that an object has beside its WAL


@dataclass(frozen=True, slots=True)
class Held:
    """The WAL of one lineage: as the source reasons about it, and the objects behind it by what their names say.

    Objects of one name stand in the order in which the store received them. unsigned are those among the newest that no
    writer signed as they are now: a stranger's, or damaged.
    """

    wal: StoredWal
    store: WalStore
    segments: dict[tuple[int, int], list[WalEntry]]
    tails: dict[Tail, list[WalEntry]]
    histories: dict[int, list[WalEntry]]
    unsigned: tuple[WalEntry, ...] = ()

    def end_of(self, entry: WalEntry) -> int:
        """Return the LSN up to which an object goes, by its name."""
        start = _segment_lsn(entry, self.wal.segment_size) or 0
        return start + self.wal.segment_size if entry.end is None else entry.end

    def is_damaged(self, entry: WalEntry) -> bool:
        """Tell whether an object that nobody signed was another one: read whole, unless no WAL is so large."""
        return entry.size <= self.wal.segment_size + _AROUND_WAL and self.store.is_damaged(entry.stored)

    def is_signed(self, timeline: int, start: int) -> bool:
        """Tell whether one of the complete segments that begin at LSN start was stored by a writer."""
        return any(
            signed_facts(self.store, entry) is not None for entry in self.segments.get((timeline, start), ())
        )

    def read_history(self, timeline: int, keys: HeadKeys) -> bytes:
        """Return a timeline's history file, authenticated. Raises Corrupt, ObjectMissing, WrongKey."""
        return self._read(self.histories[timeline], keys, None)

    def read_segment(self, plan: SegmentPlan, keys: HeadKeys) -> list[tuple[int, bytes]]:
        """Return the parts (LSN, bytes) of a segment, in rising order and up to plan.until, each authenticated.

        That is the complete segment, or else its tails, whatever the plan expected by their names. Raises Corrupt
        or ObjectMissing, naming the first object that does not open, and WrongKey.
        """
        fault: Corrupt | ObjectMissing | None = None
        if not plan.tails:
            try:
                whole = self.segments[plan.timeline, plan.start]
                return [(plan.start, self._read(whole, keys, self.wal.segment_size))]
            except (Corrupt, ObjectMissing) as error:
                fault = error
        return self._read_tails(plan, keys, fault)

    def _read_tails(
        self, plan: SegmentPlan, keys: HeadKeys, fault: Corrupt | ObjectMissing | None
    ) -> list[tuple[int, bytes]]:
        end = plan.start + self.wal.segment_size
        ours = (tail for tail in self.tails if tail.timeline == plan.timeline)
        left = [tail for tail in ours if plan.start <= tail.start < end]
        parts: list[tuple[int, bytes]] = []
        reached = plan.start
        while reached < plan.until:
            tail = _furthest(left, reached)
            if tail is None:
                name = plan.name(self.wal.segment_size)
                raise fault or Corrupt(f"WAL segment {name} has a hole at {format_lsn(reached)}")
            left.remove(tail)
            try:
                parts.append((tail.start, self._read(self.tails[tail], keys, tail.end - tail.start)))
                reached = tail.end
            except (Corrupt, ObjectMissing) as error:
                fault = fault or error
        return parts

    def _read(self, entries: Sequence[WalEntry], keys: HeadKeys, size: int | None) -> bytes:
        """Return the plain bytes of the first of entries that authenticates, and holds size bytes where it is given."""
        faults: list[Corrupt | ObjectMissing] = []
        for entry in entries:
            try:
                if len(entries) > 1:
                    self.store.facts(
                        entry.stored
                    )  # one small GET, before a stranger's object is fetched whole
                plain = self.store.read(entry.stored, keys)
            except (Corrupt, ObjectMissing) as fault:
                faults.append(fault)
                continue
            if size is None or len(plain) == size:
                return plain
            faults.append(Corrupt(f"{entry.name} holds {len(plain)} bytes of WAL where {size} belong"))
        raise faults[0]


def _furthest(tails: Iterable[Tail], reached: int) -> Tail | None:
    fitting = (tail for tail in tails if tail.start <= reached < tail.end)
    return max(fitting, key=lambda tail: (tail.end, tail.start), default=None)


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
    """Return what store holds, from one listing and the facts of a few objects; at sharpens the marks around it."""
    # Before the segments: a follower that stores one and a tail behind it meanwhile would else leave a hole here.
    tails = list_tails(store, segment_size)
    segments: dict[tuple[int, int], list[WalEntry]] = {}
    histories: dict[int, list[WalEntry]] = {}
    for entry in sorted(store.segments(), key=arrival):
        start = _segment_lsn(entry, segment_size)
        if start is not None:
            segments.setdefault((entry.timeline, start), []).append(entry)
        elif entry.file == history_name(entry.timeline):
            histories.setdefault(entry.timeline, []).append(entry)
    witnesses = Witnesses(store)
    unsigned = _drop_unsigned(segments, witnesses)
    _ask(witnesses, tails, segments, segment_size, at)
    unsigned += [entry for entry in tails if witnesses.refused(entry)]
    by_tail: dict[Tail, list[WalEntry]] = {}
    for entry in tails:
        if entry.end != entry.start and not witnesses.refused(entry):
            by_tail.setdefault(_tail(entry), []).append(entry)
    wal = StoredWal(
        segment_size=segment_size,
        complete=frozenset(segments),
        tails=list(by_tail),
        histories=_ancestors(witnesses, histories),
        marks=list(witnesses.marks()),
    )
    return Held(wal, store, segments, by_tail, histories, tuple(unsigned))


def list_tails(store: WalStore, segment_size: int) -> list[WalEntry]:
    """Return the tails and marks whose span lies in the segment of their name, in the order they were received."""
    found = []
    for entry in store.tails():
        first = _segment_lsn(entry, segment_size)
        if first is None or entry.start is None or entry.end is None:
            continue
        if first <= entry.start < first + segment_size and entry.end <= first + segment_size:
            found.append(entry)
    return sorted(found, key=arrival)


def _segment_lsn(entry: WalEntry, segment_size: int) -> int | None:
    """Return the LSN of an entry's segment, or None where PostgreSQL has no segment of that name."""
    try:
        return parse_segment_name(entry.file, segment_size)[1]
    except ValueError:
        return None


def _drop_unsigned(segments: dict[tuple[int, int], list[WalEntry]], witnesses: Witnesses) -> list[WalEntry]:
    """Drop and return, from each timeline's newest segment down, what no writer signed, up to one that is signed."""
    settled: set[int] = set()
    dropped: list[WalEntry] = []
    for timeline, start in sorted(segments, reverse=True):
        if timeline in settled:
            continue
        if any(witnesses.facts(entry) is not None for entry in segments[timeline, start]):
            settled.add(timeline)
        else:
            dropped += segments.pop((timeline, start))
    return dropped


def _tail(entry: WalEntry) -> Tail:
    return Tail(entry.timeline, entry.start or 0, entry.end or 0)


def _place(entry: WalEntry) -> tuple[int, int, datetime]:
    return entry.timeline, entry.end or 0, entry.received


def _breaks(segments: Iterable[tuple[int, int]], segment_size: int) -> list[tuple[int, int]]:
    """Return the newest places, timeline and LSN, where the next segment is not stored."""
    known = set(segments)
    ends = [(timeline, start + segment_size) for timeline, start in known]
    return sorted((end for end in ends if end not in known), reverse=True)[:_BREAKS]


def _ask(
    witnesses: Witnesses,
    tails: Sequence[WalEntry],
    segments: Iterable[tuple[int, int]],
    segment_size: int,
    at: datetime | None,
) -> None:
    """Ask the tails that matter: each timeline's newest, those around each break, those stored around at."""
    newest_first = sorted(tails, key=_place, reverse=True)
    enough = _NEWEST_TAILS
    for timeline in sorted({entry.timeline for entry in tails}, reverse=True):
        if witnesses.ask((entry for entry in newest_first if entry.timeline == timeline), enough):
            enough = 1
    for timeline, lsn in _breaks(segments, segment_size):
        for limit, wanted in ((lsn + segment_size, _BEYOND), (lsn, _BELOW)):
            below = (each for each in newest_first if each.timeline == timeline and (each.end or 0) <= limit)
            witnesses.ask(below, wanted)
    if at is not None:
        witnesses.ask((entry for entry in reversed(tails) if entry.received <= at), _AROUND)
        witnesses.ask((entry for entry in tails if entry.received > at), _AROUND)


def _ancestors(witnesses: Witnesses, histories: dict[int, list[WalEntry]]) -> dict[int, tuple[Ancestor, ...]]:
    """Return where each timeline comes from, by the first of its history files that says so and is signed."""
    found: dict[int, tuple[Ancestor, ...]] = {}
    for timeline, entries in histories.items():
        for entry in entries:
            try:
                rows = (witnesses.facts(entry) or {})["ancestors"]
                found[timeline] = tuple(Ancestor(int(row[0]), parse_lsn(row[1]), "") for row in rows)
                break
            except (KeyError, ValueError, TypeError, IndexError):
                continue
    return found
