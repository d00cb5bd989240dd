"""Marks: the highest durable position of each volume, as somebody saw it. A restore is held against them."""

from collections.abc import Iterator
from dataclasses import dataclass

from drtool.operations.coverage import base_of, held_lineages, lineage_label
from drtool.operations.session import Session
from drtool.policy.volumes import PostgresVolume
from drtool.repository.format.record import Json
from drtool.repository.snapshot import Snapshot, read_snapshots
from drtool.sources.postgres.coverage import Lineage
from drtool.sources.postgres.wal import format_lsn, parse_lsn


def snapshots_of(session: Session, volume: str) -> Iterator[Snapshot]:
    """Yield the snapshots of volume that can be read, late and void ones too."""
    return (each for each in read_snapshots(session.repository.records, volume) if isinstance(each, Snapshot))


def witness_marks(session: Session) -> Json:
    """Return the highest durable mark of each PostgreSQL volume: what a later restore is held against."""
    marks: Json = {}
    for volume in session.need_policy().volumes:
        if isinstance(volume, PostgresVolume):
            for each in _lineage_marks(session, volume.name):
                marks[volume.name] = each
    return marks


def _lineage_marks(session: Session, volume: str) -> Iterator[Json]:
    """Yield the mark of each lineage of volume, by names alone; the newest epoch comes last."""
    bases = [base_of(each) for each in snapshots_of(session, volume)]
    sizes = {base.lineage: base.wal_segment_size for base in bases}
    held = held_lineages(session.repository.records, volume, sizes, None)
    for lineage in sorted(held, key=lambda each: each.epoch):
        wal = held[lineage].wal
        ends = [(timeline, start + wal.segment_size) for timeline, start in wal.complete]
        ends += [(tail.timeline, tail.end) for tail in wal.tails]
        if ends:
            timeline, end = max(ends)
            yield {
                "lineage": lineage_label(volume, lineage).label,
                "timeline": timeline,
                "lsn": format_lsn(end),
            }


@dataclass(frozen=True, slots=True)
class Witness:
    """Who saw a PostgreSQL volume durable up to which LSN of a timeline."""

    who: str
    timeline: int
    lsn: int


def witness_of(session: Session, lineage: Lineage, volume: str) -> Witness | None:
    """Return the highest mark that any snapshot of any volume carries of volume's lineage."""
    label = lineage_label(volume, lineage).label
    found = [
        Witness(_who(snapshot), int(mark["timeline"]), parse_lsn(mark["lsn"]))
        for name in session.repository.config.volumes
        for snapshot in snapshots_of(session, name)
        if (mark := snapshot.marks.get(volume)) and mark.get("lineage") == label
    ]
    return max(found, key=lambda witness: (witness.timeline, witness.lsn), default=None)


def _who(snapshot: Snapshot) -> str:
    return f"{snapshot.volume}'s point of {snapshot.end:%Y-%m-%d %H:%M:%S} UTC"
