"""`keys grant`: choose a point as a restore does, and make what opens it, and nothing else, for one runner."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from drtool.errors import Corrupt, NoRecoveryPoint
from drtool.operations.choose_postgres import choose
from drtool.operations.coverage import Held
from drtool.operations.granted import tell
from drtool.operations.key_files import read_key_file
from drtool.operations.points import Inventory, take_inventory
from drtool.operations.restore import eligible, source_of
from drtool.operations.restore_job import (
    Job,
    RestoreRequest,
    Stopwatch,
    newest_before,
    refuse_newer_unreadable,
)
from drtool.operations.session import KeyFiles, Session
from drtool.operations.whole import not_whole
from drtool.repository.format.crypto import KEY_SIZE, random_bytes
from drtool.repository.format.grant import Versions
from drtool.repository.grant import GrantMaker, no_operator_key
from drtool.repository.kit import RunnerLine, parse_bundle, parse_recovery, trust_of
from drtool.repository.reader import Reader
from drtool.repository.records import Stored
from drtool.repository.snapshot import Snapshot
from drtool.repository.whole import Wholeness
from drtool.sources.postgres.coverage import SegmentPlan
from drtool.sources.postgres.pitr import RecoveryChoice


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """What is to be granted: the point that a restore as restore says would choose, or the one whose name or id it is.

    to is the runner's public key.
    """

    restore: RestoreRequest
    to: bytes
    point: str | None = None


@dataclass(frozen=True, slots=True)
class GrantResult:
    """What was granted. stored is what it opens, in bytes of the store; size that of the grant."""

    volume: str
    source: str
    point: str
    moment: datetime
    packs: int
    wal: int
    stored: int
    size: int


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant that was made, and the objects that its runner has to get."""

    result: GrantResult
    grant: bytes
    objects: Mapping[str, Versions]


def new_runner(keys: KeyFiles) -> RunnerLine:
    """Return a new runner's key. With a bundle or a recovery key it trusts the grants of that repository only."""
    trust: bytes | None = None
    if keys.recovery is not None:
        trust = parse_recovery(read_key_file(keys.recovery)).trust
    elif keys.bundle is not None:
        bundle = parse_bundle(read_key_file(keys.bundle))
        trust = trust_of(bundle.repository, bundle.admin)
    return RunnerLine(random_bytes(KEY_SIZE), trust)


def run_grant(session: Session, request: GrantRequest) -> Granted:
    """Return the grant that request asks for. Raises as `restore` does where there is nothing that may be chosen."""
    if session.repository.records.keys.signing is None:
        raise no_operator_key()
    wanted, progress = request.restore, session.world.progress
    watch = Stopwatch(progress.phase)
    watch.phase("choosing the point")
    inventory = eligible(take_inventory(session, wanted.volume, wanted.at, as_of=wanted.as_of), wanted)
    if request.point is not None:
        inventory = _only(inventory, request.point)
    reader, wholeness = Reader(session.repository), Wholeness(session.repository)
    job = Job(session, wanted, inventory, reader, watch, None, dry_run=True, wholeness=wholeness)
    snapshot, choice = _choose(job, by_name=request.point is not None)
    watch.phase("trying the keys")
    maker = GrantMaker(session.repository, snapshot, progress.advance)
    maker.add_point()
    if choice is not None:
        _add_wal(maker, inventory.held[choice.base.lineage], choice)
    grant = maker.seal(request.to, session.world.clock(), tell(wanted.at, choice))
    size = maker.size
    moment = snapshot.end if choice is None else choice.target or choice.newest
    result = GrantResult(
        volume=snapshot.volume,
        source=snapshot.source,
        point=snapshot.name,
        moment=moment,
        packs=size.packs,
        wal=size.wal,
        stored=size.stored,
        size=len(grant),
    )
    return Granted(result, grant, maker.objects)


def _only(inventory: Inventory, point: str) -> Inventory:
    """Return the inventory with the one point that has this name, or an id that begins so. Raises NoRecoveryPoint."""
    named = [
        name for name in inventory.snapshots if name == point or name.rpartition("-")[2].startswith(point)
    ]
    if len(named) != 1:
        raise NoRecoveryPoint(
            f"{len(named) or 'no'} points of {inventory.volume} that may be chosen are called {point}",
            hint=f"`drtool points {inventory.volume}` lists them, with the reason of each that may not.",
        )
    bases = [base for base in inventory.bases if base.id in named]
    return replace(inventory, snapshots={named[0]: inventory.snapshots[named[0]]}, bases=bases)


def _choose(job: Job, *, by_name: bool) -> tuple[Snapshot, RecoveryChoice | None]:
    source = source_of(job)
    if by_name:
        _refuse_not_whole(job)
    if source == "postgres":
        choice = choose(job)
        return job.inventory.snapshots[choice.base.id], choice
    snapshot = newest_before(job)
    if not by_name:
        refuse_newer_unreadable(job, snapshot)
    return snapshot, None


def _refuse_not_whole(job: Job) -> None:
    """Return when the one point that was named is whole: of others nothing is known here. Raises Refused."""
    [named] = job.inventory.snapshots.values()
    fault = job.fault_of(named)
    if fault is not None:
        raise not_whole(named, fault, f"`drtool points {named.volume}` lists the others.") from fault


def wal_of(held: Held, choice: RecoveryChoice) -> Iterator[Stored]:
    """Yield the WAL of choice: history files, complete segments, and tails where a segment has nothing better."""
    yield from (entry.stored for timeline in choice.histories for entry in held.histories[timeline])
    for plan in choice.segments:
        yield from _stored(held, plan)


def _stored(held: Held, plan: SegmentPlan) -> list[Stored]:
    if plan.tails:
        return _tails_of(held, plan)
    return [entry.stored for entry in held.segments[plan.timeline, plan.start]]


def _add_wal(maker: GrantMaker, held: Held, choice: RecoveryChoice) -> None:
    """Grant the WAL of choice, and the tails of a segment that no writer signed whole."""
    granted = {stored.name for stored in maker.add_wal(held.store, wal_of(held, choice))}
    for plan in choice.segments:
        if any(stored.name in granted for stored in _stored(held, plan)):
            continue
        if plan.tails or not maker.add_wal(held.store, _tails_of(held, plan)):
            raise Corrupt(
                f"no object of WAL segment {plan.name(held.wal.segment_size)} is signed by a writer",
                hint="Grant a moment before it, or another point: `drtool points` lists them.",
            )


def _tails_of(held: Held, plan: SegmentPlan) -> list[Stored]:
    return [
        entry.stored
        for tail, entries in held.tails.items()
        if tail.timeline == plan.timeline and plan.start <= tail.start < plan.until
        for entry in entries
    ]
