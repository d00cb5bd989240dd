"""What the store has lost, or shows otherwise than it was written, of what a plan would bring back."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from drtool.deploy.mover import PIECE
from drtool.errors import Corrupt, DrtoolError, ObjectMissing, Refused, WrongKey
from drtool.operations.grant import wal_of
from drtool.operations.marks import lost_wal
from drtool.operations.points import Inventory, moment_of, points_of
from drtool.operations.presign import presigned_size, signs_urls
from drtool.operations.session import Session
from drtool.recovery.points import VolumePoint
from drtool.recovery.refusal import Refusal, refused
from drtool.recovery.wishes import Wishes
from drtool.repository.format.grant import Versions
from drtool.repository.heads import pick_head
from drtool.repository.records import versions_of
from drtool.repository.runs import RunKind, read_runs_of
from drtool.repository.trial import try_point
from drtool.repository.verify import planned
from drtool.sources.postgres.pitr import RecoveryChoice, choose_recovery

_HEAL: Final = (
    "Bring it back from a copy of the repository, or from an older version in the bucket; or take a point before it "
    "with --at. "
)
_MISSING: Final = f"{_HEAL}`drtool verify --level L0` tells what else is missing."
_DAMAGED: Final = f"{_HEAL}`drtool verify --level L1` tells what else is damaged."
_OLDER: Final = (
    "The store shows an older state, or lost it: look at its copies and its versions; or take the loss with "
    "--accept-loss."
)
_POINT: Final = re.compile(r"snap/[a-z0-9-]+/\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{64}")
_KEEPING: Final[tuple[RunKind, ...]] = ("backup",)
_NAMED: Final = 3  # of the objects that are missing
_ASKED: Final = 500  # run records, the newest of them: each costs a GET


def doubts(
    session: Session,
    chosen: Sequence[VolumePoint],
    inventories: Mapping[str, Inventory],
    there: Mapping[str, Inventory],
    wishes: Wishes,
) -> Iterator[Refusal]:
    """Yield what the store has against the chosen points. inventories are of what may be chosen, there of all."""
    yield from _unreachable(session, chosen)
    for each in chosen:
        inventory = inventories[each.volume]
        if each.source != "manifests":  # whose objects are read whole by who plans
            yield from _unusable(session, each, inventory)
        if not wishes.accept_loss:
            yield from _unreadable(each, inventory, wishes.at)
            yield from _lost(session, each, inventory)
    if not wishes.accept_loss:
        yield from _hidden(session, chosen, there, wishes)


def unread(refusals: Sequence[Refusal], fault: DrtoolError) -> Refused:
    """Return the error for captured objects that cannot be read, beside all else that speaks against the points."""
    hint = _MISSING if isinstance(fault, ObjectMissing) else _DAMAGED
    reason = Refusal("the captured objects", f"cannot be read: {fault.message}", hint)
    return refused([*refusals, reason])


def _unreachable(session: Session, chosen: Sequence[VolumePoint]) -> Iterator[Refusal]:
    """Yield that no URL leads to the repository: what moves data in the cluster has nothing else."""
    moved = [each.volume for each in chosen if each.source != "manifests"]
    settings = session.settings
    if moved and settings is not None and not signs_urls(settings, session.world):
        said = f"fetches by signed URLs, and {settings.url} is no bucket"
        hint = "Put a copy of it into a bucket and name that, or restore each with `drtool restore VOLUME --to-dir`."
        yield Refusal(f"what moves {', '.join(moved)} in the cluster", said, hint)


def _unusable(session: Session, chosen: VolumePoint, inventory: Inventory) -> Iterator[Refusal]:
    """Yield why the data of a point cannot be read, or cannot be brought to who moves it."""
    trial, about = try_point(session.repository, inventory.snapshots[chosen.point]), f"volume {chosen.volume}"
    if trial.missing:
        more = f" and {len(trial.missing) - _NAMED} more" if len(trial.missing) > _NAMED else ""
        names = ", ".join(trial.missing[:_NAMED])
        yield Refusal(about, f"needs what is not in the store: {names}{more}", _MISSING)
    for fault in trial.faults[:_NAMED]:
        hint = fault.hint if isinstance(fault, WrongKey) else _DAMAGED
        yield Refusal(about, f"cannot be read: {fault.message}", hint)
    objects = {**trial.objects, **_wal_of(chosen, inventory)}
    if session.settings is not None and signs_urls(session.settings, session.world):
        size = presigned_size(session.settings, objects, session.world)
        if size > PIECE:
            said = f"needs {len(objects)} objects, whose signed URLs take {size} bytes: a Secret has {PIECE} for them"
            hint = "Restore it with `drtool restore --to-dir` beside its claim, and the other volumes by their names."
            yield Refusal(about, said, hint)


def _wal_of(chosen: VolumePoint, inventory: Inventory) -> Mapping[str, Versions]:
    """Return the WAL that a point of PostgreSQL is brought to its moment with; of any other source none."""
    if chosen.source != "postgres":
        return {}
    choice = _recovery(chosen, inventory)
    found = wal_of(inventory.held[choice.base.lineage], choice)
    return {stored.name: versions_of(stored) for stored in found}


def _recovery(chosen: VolumePoint, inventory: Inventory) -> RecoveryChoice:
    wal = {lineage: held.wal for lineage, held in inventory.held.items()}
    bases = [base for base in inventory.bases if base.id == chosen.point]
    return choose_recovery(bases, wal, target=chosen.target)


def _unreadable(chosen: VolumePoint, inventory: Inventory, at: datetime | None) -> Iterator[Refusal]:
    """Yield the points that would have been chosen, could they be read."""
    for point in points_of(inventory):
        is_unread = point.state in ("unreadable", "writer ended")
        if is_unread and chosen.moment < point.end and (at is None or point.end <= at):
            said = f"has {point.name}, newer than {chosen.point}, which cannot be read: {point.detail}"
            yield Refusal(
                f"volume {chosen.volume}", said, "Take the older point with --at, or with --accept-loss."
            )


def _lost(session: Session, chosen: VolumePoint, inventory: Inventory) -> Iterator[Refusal]:
    """Yield the WAL that somebody saw durable, and that is not in the store any more."""
    if chosen.source != "postgres" or chosen.target is not None:
        return
    recovery = _recovery(chosen, inventory)
    loss = lost_wal(session, inventory.held[recovery.base.lineage], recovery, chosen.volume)
    if loss is not None:
        yield Refusal(f"volume {chosen.volume}", loss.message, loss.hint)


def _hidden(
    session: Session, volumes: Sequence[VolumePoint], there: Mapping[str, Inventory], wishes: Wishes
) -> Iterator[Refusal]:
    """Yield the points, newer than those that were chosen, of which somebody says that they were kept.

    What PostgreSQL lost is told by its WAL.
    """
    chosen = {each.volume: each for each in volumes if each.source != "postgres"}
    if not chosen:
        return
    known = {name for volume in chosen for name in _names(there[volume])} | planned(session.repository)
    gone: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, who in sorted(_kept(session, chosen.values(), wishes).items(), reverse=True):
        newest = chosen.get(name.split("/")[1])
        if name in known or newest is None or moment_of(name) <= moment_of(newest.point):
            continue
        is_asked_for = wishes.at is None or moment_of(name) <= wishes.at
        # A source that still lives may have kept it since the points were listed.
        if is_asked_for and not any(session.repository.store.list(name)):
            gone[newest.volume].append((name, who))
    for volume, points in gone.items():
        name, who = points[0]
        more = f", nor {len(points) - 1} more" if len(points) > 1 else ""
        said = f"has not {name}, newer than {chosen[volume].point}, which {who} says was kept{more}"
        yield Refusal(f"volume {volume}", said, _OLDER)


def _names(inventory: Inventory) -> Iterator[str]:
    yield from inventory.snapshots
    yield from (each.name for each in inventory.unreadable)


def _kept(session: Session, chosen: Collection[VolumePoint], wishes: Wishes) -> dict[str, str]:
    """Return points with who says that they were kept: the head, and the runs since the oldest of chosen.

    A run is recorded at its end: one that began before the moment that is asked for, as late after it as a run lasts.
    """
    records, config = session.repository.records, session.repository.config
    head = pick_head(records, wishes.as_of)
    found = dict.fromkeys(head.live, f"head {head.name}") if head else {}
    if wishes.as_of is None:  # else only what that head knew is there
        since = min(moment_of(each.point) for each in chosen)
        lasts = timedelta(seconds=max(config.limits(each.volume).max_run for each in chosen))
        until = wishes.at + lasts if wishes.at else None
        for run in read_runs_of(records, _KEEPING, since, until, _ASKED):
            if run.role == "writer" and run.value.get("outcome") == "done":
                found.setdefault(str(run.value.get("point")), f"run {run.name}")
    return {name: who for name, who in found.items() if _is_point(name)}


def _is_point(name: str) -> bool:
    """Return whether a name is that of a point: a writer that was taken over may say that it kept anything."""
    if _POINT.fullmatch(name) is None:
        return False
    try:
        moment_of(name)
    except Corrupt:
        return False
    return True
