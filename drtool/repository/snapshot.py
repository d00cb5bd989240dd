"""Snapshots: what a recovery point says of itself, and whether a reader may believe it.

A record counts when a writer signed it and its claims agree: start ≤ from ≤ to ≤ received ≤ start + max_run.
What arrived later than that is late: shown, not chosen; what the newest head calls live is never late. A void by the
same run hides a point from choice. What is dated well before a head that does not know it is suspect. For all of these
max_run is that of the config that was in force when the store received the point: a longer one changes nothing before.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import UnionType
from typing import Final

from drtool.errors import Corrupt
from drtool.repository.config import CLOCK_GRAIN, RunLimits, run_limits
from drtool.repository.format.names import json_time, parse_json_time, timed_prefix
from drtool.repository.format.record import Json
from drtool.repository.heads import Head, pick_head
from drtool.repository.records import Record, Records, Unreadable, arrival

_TYPES: Final[Mapping[str, type | UnionType]] = {
    **dict.fromkeys(("volume", "source", "run"), str),
    **dict.fromkeys(("content", "entries", "stats"), list),
    **dict.fromkeys(("runs", "facts", "marks"), dict),
    **dict.fromkeys(("size", "stored"), int),
    "previous": str | None,
}

KIND = "snap"
PART = "part"
VOID = "void"


@dataclass(frozen=True, slots=True)
class Streams:
    """The lists of a run by what they list: the content of the artifacts, their entries, their stat records."""

    content: Sequence[str] = ()
    entries: Sequence[str] = ()
    stats: Sequence[str] = ()

    @property
    def names(self) -> Sequence[str]:
        """All of them."""
        return (*self.content, *self.entries, *self.stats)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One recovery point. start, deadline and received are by the store's clock; all times are UTC.

    begin and end are the `from` and `to` of design and format. runs maps each run whose packs are named (hex) to its
    key's commitment (hex). size is the plain bytes of all artifacts; stored the bytes of packs that this run uploaded.
    """

    name: str
    volume: str
    source: str
    run: str
    start: datetime
    begin: datetime
    end: datetime
    deadline: datetime
    received: datetime
    streams: Streams
    runs: Mapping[str, str]
    facts: Json
    marks: Json
    size: int
    stored: int
    previous: str | None
    signer: str
    versions: int = 1
    late: bool = False
    void: str | None = None
    suspect: bool = False

    @property
    def chosen(self) -> bool:
        """Whether a restore may choose this point without being told to accept anything."""
        return not self.late and not self.suspect and self.void is None


@dataclass(frozen=True, slots=True)
class Draft:
    """What a writer knows of its snapshot when everything else is durable."""

    volume: str
    source: str
    run: str
    start: datetime
    begin: datetime
    end: datetime
    streams: Streams
    runs: Mapping[str, str]
    facts: Json
    size: int
    stored: int
    previous: str | None
    marks: Json = field(default_factory=dict)


def put_snapshot(records: Records, draft: Draft) -> str:
    """Sign and store a snapshot: the commit of a run. Return its name."""
    limits = records.config.limits(draft.volume)
    value: Json = {
        "volume": draft.volume,
        "source": draft.source,
        "run": draft.run,
        "start": json_time(draft.start),
        "from": json_time(draft.begin),
        "to": json_time(draft.end),
        "deadline": json_time(draft.start + timedelta(seconds=limits.max_run)),
        "content": list(draft.streams.content),
        "entries": list(draft.streams.entries),
        "runs": dict(draft.runs),
        "facts": draft.facts,
        "marks": draft.marks,
        "size": draft.size,
        "stored": draft.stored,
        "previous": draft.previous,
    }
    if draft.streams.stats:
        value["stats"] = list(draft.streams.stats)
    return records.put(timed_prefix(KIND, draft.volume, draft.end), value)


def parse_snapshot(record: Record, limits: timedelta) -> Snapshot:
    """Return the snapshot that record holds; limits is what max_run was. Raises Corrupt on claims that differ."""
    value = record.value
    _check_types(record)
    try:
        snapshot = Snapshot(
            name=record.name,
            volume=value["volume"],
            source=value["source"],
            run=value["run"],
            start=parse_json_time(value["start"]),
            begin=parse_json_time(value["from"]),
            end=parse_json_time(value["to"]),
            deadline=parse_json_time(value["deadline"]),
            received=record.received,
            streams=Streams(value["content"], value["entries"], value.get("stats", [])),
            runs=value["runs"],
            facts=value["facts"],
            marks=value["marks"],
            size=value["size"],
            stored=value["stored"],
            previous=value["previous"],
            signer=record.signer,
            versions=record.versions,
            late=record.received > parse_json_time(value["start"]) + limits,
        )
    except KeyError as fault:
        raise Corrupt(f"{record.name}: the snapshot says nothing of {fault}") from fault
    _check_claims(snapshot)
    return snapshot


def _check_types(record: Record) -> None:
    """Return when every field has its type: a writer that was taken over must not stop us from reading the rest."""
    value = record.value
    wrong = [name for name, kind in _TYPES.items() if name in value and not isinstance(value[name], kind)]
    lists = ("content", "entries", "stats")
    named = (
        [*(name for stream in lists for name in value.get(stream, ())), *value.get("runs", {}).values()]
        if not wrong
        else []
    )
    if wrong or not all(isinstance(name, str) for name in named):
        raise Corrupt(f"{record.name}: the snapshot is malformed in {', '.join(wrong) or 'a name'}")


def _check_claims(snapshot: Snapshot) -> None:
    if not snapshot.name.startswith(timed_prefix(KIND, snapshot.volume, snapshot.end)):
        raise Corrupt(f"{snapshot.name}: the snapshot's content says another volume or time than its name")
    moments = [snapshot.start, snapshot.begin, snapshot.end, snapshot.received + CLOCK_GRAIN]
    if moments != sorted(moments):
        raise Corrupt(f"{snapshot.name}: its times contradict each other or the store's")


def read_snapshots(
    records: Records, volume: str, *, as_of: str | None = None
) -> Iterator[Snapshot | Unreadable]:
    """Yield a volume's snapshots by time, late, void and suspect ones marked; what cannot count with its fault.

    as_of names a head: what it did not know does not exist. That is the way back after an intrusion.
    """
    limits = run_limits(records.configs, volume)
    voids = _voids(records, volume)
    head = pick_head(records, as_of)
    for record in records.all(f"{KIND}/{volume}/"):
        if isinstance(record, Unreadable):
            yield record
            continue
        try:
            snapshot = parse_snapshot(record, limits.at(record.received))
        except Corrupt as fault:
            yield Unreadable(record.name, fault)
            continue
        if as_of is not None and head is not None and snapshot.name not in head.live:
            continue
        yield _apply_head(_apply_voids(snapshot, voids[snapshot.name], limits), head, limits)


def _apply_head(snapshot: Snapshot, head: Head | None, limits: RunLimits) -> Snapshot:
    """Return snapshot as the newest head sees it: live whatever its date, or suspect."""
    if head is None:
        return snapshot
    if snapshot.name in head.live:
        return replace(snapshot, late=False)
    return replace(snapshot, suspect=snapshot.received < head.received - limits.at(snapshot.received))


def _voids(records: Records, volume: str) -> Mapping[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records.all(f"{VOID}/{volume}/"):
        if isinstance(record, Record):
            found[str(record.value.get("snapshot"))].append(record)
    return found


def _apply_voids(snapshot: Snapshot, voids: Sequence[Record], limits: RunLimits) -> Snapshot:
    """Return snapshot, voided if one of voids is by the same writer and run, and came in time."""
    until = snapshot.received + limits.at(snapshot.received)
    for void in voids:
        same = void.value.get("run") == snapshot.run and void.signer == snapshot.signer
        if same and void.received <= until:
            return replace(snapshot, void=str(void.value.get("reason", "its writer found it incomplete")))
    return snapshot


@dataclass(frozen=True, slots=True)
class Void:
    """What a writer says of its own snapshot, by name, when it finds it incomplete."""

    snapshot: str
    volume: str
    run: str
    reason: str


def put_void(records: Records, void: Void, now: datetime) -> str:
    """Store a void; return its name."""
    value = {"snapshot": void.snapshot, "run": void.run, "reason": void.reason}
    return records.put(timed_prefix(VOID, void.volume, now), value)


def put_part(records: Records, volume: str, now: datetime, value: Json) -> str:
    """Store the lists that a run has so far: what the next run uses again if this one dies. Return its name."""
    return records.put(timed_prefix(PART, volume, now), value)


def read_parts(records: Records, volume: str, since: datetime | None) -> list[Record]:
    """Return the parts received after since, newest first; unreadable ones are of no use and left out."""
    found = [record for record in records.all(f"{PART}/{volume}/") if isinstance(record, Record)]
    return sorted(
        (record for record in found if since is None or record.received >= since - CLOCK_GRAIN),
        key=arrival,
        reverse=True,
    )
