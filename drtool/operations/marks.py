"""Marks: the highest durable position of each volume, as somebody saw it. A restore is held against them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from drtool.errors import Corrupt, NoRecoveryPoint
from drtool.operations.coverage import Held, base_of, held_lineages, lineage_label, read_held
from drtool.operations.session import Session
from drtool.policy.moments import to_second
from drtool.policy.volumes import PostgresVolume
from drtool.repository.format.record import Json
from drtool.repository.runs import RunKind, read_runs_of
from drtool.repository.snapshot import Snapshot, read_snapshots
from drtool.repository.wal import Lineage as WalLineage
from drtool.repository.wal import WalStore
from drtool.sources.postgres.coverage import Base, Lineage, Reach, find_reach
from drtool.sources.postgres.pitr import RecoveryChoice, choose_recovery
from drtool.sources.postgres.wal import format_lsn, parse_lsn

_BRING: Final[tuple[RunKind, ...]] = ("wal",)
_RUNS: Final = 8  # records of who brought a volume's WAL, the newest of them
_READ: Final = 1000  # of all volumes, to find those: each costs a GET, and their names tell of no volume


def snapshots_of(session: Session, volume: str) -> Iterator[Snapshot]:
    """Yield the snapshots of volume that can be read, late and void ones too."""
    return (each for each in read_snapshots(session.repository.records, volume) if isinstance(each, Snapshot))


def bases_of(session: Session, volume: str) -> list[Base]:
    """Return the base backups of volume; snapshots of another source, or malformed ones, are left out."""
    found = []
    for snapshot in snapshots_of(session, volume):
        with suppress(Corrupt):
            if snapshot.source == "postgres":
                found.append(base_of(snapshot))
    return found


def witness_marks(session: Session) -> Json:
    """Return the highest durable mark of each PostgreSQL volume: what a later restore is held against.

    A volume that the repository has not taken over yet has none, and holds up the backup of no other.
    """
    marks: Json = {}
    known = session.repository.config.volumes
    for volume in session.need_policy().volumes:
        if isinstance(volume, PostgresVolume) and volume.name in known:
            for each in _lineage_marks(session, volume.name):
                marks[volume.name] = each
    return marks


def _lineage_marks(session: Session, volume: str) -> Iterator[Json]:
    """Yield the mark of each lineage of volume; the newest epoch comes last."""
    sizes = {base.lineage: base.wal_segment_size for base in bases_of(session, volume)}
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


def told_mark(timeline: int, lsn: int) -> dict[str, str]:
    """Return how a run record tells that all up to lsn is restorable; its lineage stands beside it."""
    return {"timeline": str(timeline), "lsn": format_lsn(lsn)}


def whole_mark(session: Session, lineage: WalLineage) -> dict[str, str]:
    """Return up to where the WAL of lineage can be replayed, as a run record tells it.

    That is nothing where no base backup reaches all that is stored of it: who holds less than that has lost nothing.
    """
    bases = [
        base
        for base in bases_of(session, lineage.volume)
        if lineage_label(lineage.volume, base.lineage) == lineage
    ]
    if not bases:
        return {}
    held = read_held(WalStore(session.repository.records, lineage), bases[0].wal_segment_size)
    whole = [
        reach
        for reach in (find_reach(base, held.wal) for base in bases)
        if reach.is_restorable and not reach.faults()
    ]
    furthest = max(((reach.timeline, reach.end) for reach in whole), default=None)
    return {} if furthest is None else told_mark(*furthest)


@dataclass(frozen=True, slots=True)
class Witness:
    """Who saw a PostgreSQL volume durable up to which LSN of a timeline, in which epoch."""

    who: str
    epoch: int
    timeline: int
    lsn: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Newest WAL that is not there to be replayed: what is known of it, and what to do."""

    message: str
    hint: str


def lost_wal(session: Session, held: Held, choice: RecoveryChoice, volume: str) -> Loss | None:
    """Return what would be lost behind choice, for it is damaged, or for somebody saw it durable; None if nothing."""
    damage = damage_behind(held, choice, choice.end_lsn, volume)
    if damage is not None:
        return Loss(
            damage,
            "Bring it back from a copy of the repository, or take the loss with --accept-loss. "
            "`drtool verify --level L1` tells what else is damaged.",
        )
    loss = loss_of(session, choice, choice.end_lsn, volume)
    if loss is None:
        return None
    return Loss(
        loss,
        "The store lost WAL or shows an old state: ask `drtool verify --level L0`, or take the loss with "
        "--accept-loss.",
    )


def loss_of(
    session: Session,
    reach: Reach | RecoveryChoice,
    end: int,
    volume: str,
    *,
    later_lives: bool = True,
    later_timelines: bool = True,
) -> str | None:
    """Return what somebody saw durable that lies behind end, the end of reach's path; None when nothing is lost.

    What lies on a timeline behind the fork at which the path left it was left there, and is not lost. Without
    later_lives only the reach's own epoch is looked at, and without later_timelines no timeline behind its own: whether
    it is whole, not whether it is the newest.
    """
    newest = (None if later_lives else reach.base.lineage.epoch, None if later_timelines else reach.timeline)
    seen = _highest_witness(session, reach.base, volume, *newest)
    if seen is None:
        return None
    if seen.epoch < reach.base.lineage.epoch:
        return None  # of an earlier life: this one follows from what was restored of it
    if seen.epoch == reach.base.lineage.epoch:
        if seen.timeline < reach.path[-1].timeline:
            return None
        if seen.timeline == reach.path[-1].timeline and seen.lsn <= end:
            return None
    there = f"{format_lsn(end)} of timeline {reach.path[-1].timeline}"
    known = f"{format_lsn(seen.lsn)} of timeline {seen.timeline} in epoch {seen.epoch}"
    return f"WAL of {volume} ends at {there}, but {seen.who} saw it durable up to {known}"


def all_witnesses(session: Session, lineage: Lineage, volume: str, since: datetime) -> list[Witness]:
    """Return all that snapshots, and runs since then, say of a lineage's system: each costs a GET."""
    marks = [
        *((who.name, who.marks.get(volume)) for who in _all(session)),
        *_told_by_runs(session, since, volume),
    ]
    seen = (_witness(who, mark, lineage) for who, mark in marks)
    return [witness for witness in seen if witness is not None]


def newest_loss(
    session: Session, volume: str, bases: Sequence[Base], held: Mapping[Lineage, Held]
) -> tuple[str, str] | None:
    """Return the one of bases that a restore of all there is begins with, and what it lacks that somebody saw durable.

    None where nothing is lost. What was held is looked at again before: a witness may have come after it was listed.
    """
    lost = _lost(session, volume, bases, held)
    if lost is None:
        return None
    sizes = {base.lineage: base.wal_segment_size for base in bases}
    return _lost(session, volume, bases, held_lineages(session.repository.records, volume, sizes, None))


def _lost(
    session: Session, volume: str, bases: Sequence[Base], held: Mapping[Lineage, Held]
) -> tuple[str, str] | None:
    try:
        choice = choose_recovery(bases, {lineage: each.wal for lineage, each in held.items()})
    except NoRecoveryPoint:
        return None
    loss = loss_of(session, choice, choice.end_lsn, volume)
    return None if loss is None else (choice.base.id, loss)


def damage_behind(held: Held, reach: Reach | RecoveryChoice, end: int, volume: str) -> str | None:
    """Return which object, damaged, goes on behind end, the end of reach's path; None where none does.

    Nobody else may have seen the newest WAL durable, so that only its own name tells that it was.
    """
    timeline = reach.path[-1].timeline
    behind = [each for each in held.unsigned if (each.timeline, held.end_of(each)) > (timeline, end)]
    behind.sort(key=lambda each: (each.timeline, held.end_of(each)), reverse=True)
    furthest = next(filter(held.is_damaged, behind), None)
    if furthest is None:
        return None
    there = f"{format_lsn(end)} of timeline {timeline}"
    known = f"{format_lsn(held.end_of(furthest))} of timeline {furthest.timeline}"
    return f"WAL of {volume} ends at {there}, for what goes on to {known} is damaged: {furthest.name}"


def _highest_witness(
    session: Session, base: Base, volume: str, epoch: int | None, timeline: int | None
) -> Witness | None:
    """Return the highest mark of this system that a snapshot or a catch-up's record has, none of later ones than those.

    epoch and timeline are the newest that are looked at; None: all.
    """
    lineage = base.lineage

    def known(marks: Iterable[tuple[str, Any]]) -> Iterator[Witness]:
        for who, mark in marks:
            witness = _witness(who, mark, lineage)
            if witness is None or witness.epoch > (epoch or witness.epoch):
                continue
            if witness.timeline <= (timeline or witness.timeline):
                yield witness

    points = (
        (f"{who.volume}'s point of {to_second(who.end)}", who.marks.get(volume)) for who in _all(session)
    )
    found = [*known(points), *islice(known(_told_by_runs(session, base.begin, volume)), _RUNS)]
    return max(found, key=lambda witness: (witness.epoch, witness.timeline, witness.lsn), default=None)


def _told_by_runs(session: Session, since: datetime, volume: str) -> Iterator[tuple[str, Any]]:
    """Yield what runs since then tell of volume, newest first; the records of others lie among them."""
    with closing(read_runs_of(session.repository.records, _BRING, since, most=_READ)) as runs:
        yield from (
            (f"run {run.name}", run.value)
            for run in runs
            if run.role == "writer" and run.value.get("volume") == volume
        )


def _all(session: Session) -> Iterator[Snapshot]:
    for name in session.repository.config.volumes:
        yield from snapshots_of(session, name)


def _witness(who: str, mark: Any, lineage: Lineage) -> Witness | None:
    """Return what a mark says, if it is of the same system and version, and well formed."""
    try:
        system, major, epoch = (int(part) for part in mark["lineage"].split("-"))
        if (system, major) != (lineage.system_identifier, lineage.major):
            return None
        return Witness(who, epoch, int(mark["timeline"]), parse_lsn(mark["lsn"]))
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
