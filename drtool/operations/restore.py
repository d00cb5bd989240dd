"""`restore VOLUME --to-dir`: choose the point, check everything that can be checked, then write, then prove."""

import os
import pwd
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from drtool.errors import Corrupt, DrtoolError, NoRecoveryPoint, NotProven, UsageError
from drtool.operations.granted import granted_request
from drtool.operations.passed_over import passed_over, passed_over_notes, unread_before, way_of
from drtool.operations.points import Inventory, take_inventory, why_of
from drtool.operations.record import record_run
from drtool.operations.restore_files import restore_files
from drtool.operations.restore_job import Job, RestoreRequest, Stopwatch, refuse_foreign_options
from drtool.operations.restore_objects import restore_objects
from drtool.operations.restore_postgres import restore_postgres
from drtool.operations.restore_redis import restore_redis
from drtool.operations.results import RestoreResult
from drtool.operations.session import Session
from drtool.operations.unfinished import Unfinished, refuse_nameless, refuse_unfinished
from drtool.repository.format.names import json_time
from drtool.repository.format.record import Json
from drtool.repository.reader import Reader
from drtool.repository.snapshot import Snapshot
from drtool.repository.whole import Wholeness

__all__ = ["RestoreRequest", "refuse_foreign_options", "run_restore"]


class Accepts(Protocol):
    """Which points somebody takes that are not chosen by themselves."""

    @property
    def accept_late(self) -> bool:
        """Those that reached the store after their deadline."""
        ...

    @property
    def accept_void(self) -> bool:
        """Those that their writer called incomplete."""
        ...


def run_restore(session: Session, request: RestoreRequest, *, dry_run: bool = False) -> RestoreResult:
    """Bring a volume back into a directory and prove it. Raises Refused or NoRecoveryPoint with nothing touched.

    Raises NotProven, Corrupt when what came back is not what was kept: the directory is then not to be used. Where it
    is told to end, what it wrote is removed again.
    """
    request = replace(request, directory=Path(os.path.abspath(request.directory)))  # noqa: PTH100 - links stay links
    if session.grant is not None:
        request = granted_request(request, session.grant)
    refuse_nameless(request.directory)
    refuse_unfinished(request.directory, dry_run=dry_run)
    watch = Stopwatch(session.world.progress.phase)
    watch.phase("choosing the point")
    reader = Reader(session.repository)
    there = take_inventory(session, request.volume, request.at, as_of=request.as_of)
    inventory, owner = eligible(there, request), _owner(request.owner)
    wholeness = Wholeness(session.repository) if session.grant is None else None
    try:
        with Unfinished(session.world.progress.note) as unfinished:
            job = Job(session, request, inventory, reader, watch, owner, dry_run, unfinished, wholeness)
            result = _dispatch(job)
            _check_proofs(result)
            unfinished.end()
        newer = passed_over(there, result.point, request.at, job.not_whole)
        result = replace(result, passed_over=tuple(newer), notes=(*passed_over_notes(newer), *result.notes))
    except DrtoolError as fault:
        if isinstance(fault, NoRecoveryPoint):
            fault.hint = " ".join(filter(None, (fault.hint, *unread_before(inventory, request.at))))
        _record(session, request, {"outcome": "failed", "detail": fault.message}, dry_run=dry_run)
        raise
    took = {"size": result.size, "seconds": round(result.seconds, 3)}
    _record(session, request, {"outcome": "done", "detail": result.point, **took}, dry_run=dry_run)
    return result


def source_of(job: Job) -> str:
    """Return the source of the volume. Raises NoRecoveryPoint where it has no point that may be chosen."""
    volume, found = job.request.volume, {snapshot.source for snapshot in job.inventory.snapshots.values()}
    if not found and job.inventory.unreadable:
        newest = job.inventory.unreadable[-1]
        raise Corrupt(
            f"volume {volume} has no point that can be read; the newest is {newest.name}: {why_of(newest)}",
            hint=way_of(newest)
            or "Fetch that object from a copy of the repository, or an older version of it from the store.",
        )
    if not found:
        raise NoRecoveryPoint(
            f"volume {volume} has no point that may be chosen",
            hint=f"`drtool points {volume}` shows what there is, and why it does not count.",
        )
    if len(found) > 1:
        raise UsageError(f"volume {volume} has points of sources {', '.join(sorted(found))}")
    return found.pop()


def _dispatch(job: Job) -> RestoreResult:
    match source_of(job):
        case "postgres":
            refuse_foreign_options(job.request, "postgres")
            return restore_postgres(job)
        case "redis":
            refuse_foreign_options(job.request, "redis")
            return restore_redis(job)
        case "files":
            refuse_foreign_options(job.request, "files")
            return restore_files(job)
        case "manifests":
            refuse_foreign_options(job.request, "manifests")
            return restore_objects(job)
        case source:
            raise UsageError(
                f"volume {job.request.volume} is of source {source}, which this drtool does not know",
                hint="A newer drtool may have backed it up: restore with the newest.",
            )


def eligible(inventory: Inventory, accepts: Accepts) -> Inventory:
    """Return the inventory with only those points that may be chosen."""

    def may(snapshot: Snapshot) -> bool:
        if snapshot.suspect:
            return False
        return (accepts.accept_late or not snapshot.late) and (accepts.accept_void or snapshot.void is None)

    snapshots = {name: each for name, each in inventory.snapshots.items() if may(each)}
    bases = [base for base in inventory.bases if base.id in snapshots]
    return replace(inventory, snapshots=snapshots, bases=bases)


def _owner(name: str | None) -> tuple[int, int] | None:
    """Return the uid and gid of the user that shall own what is restored."""
    if name is None:
        return None
    if os.geteuid() != 0:
        raise UsageError(
            "only root can give files to another user", hint="Leave --owner out, or run as root."
        )
    try:
        user = pwd.getpwnam(name)
    except KeyError as fault:
        raise UsageError(f"there is no user {name} here", hint="Name a user of this machine.") from fault
    return user.pw_uid, user.pw_gid


def _check_proofs(result: RestoreResult) -> None:
    failed = [proof for proof in result.proofs if not proof.ok]
    if failed:
        told = "; ".join(f"{proof.name}: expected {proof.expected}, found {proof.actual}" for proof in failed)
        raise NotProven(
            f"{result.directory} is restored, but {len(failed)} of {len(result.proofs)} proofs failed: {told}",
            hint="Do not put this copy into service. Restore an earlier point: `drtool points` lists them.",
        )


def _record(session: Session, request: RestoreRequest, ended: Json, *, dry_run: bool) -> None:
    """Keep the restore as a run record, where an operator's key is at hand. How long it took predicts the next one."""
    at = json_time(request.at) if request.at else None
    record_run(session, "restore", {"volume": request.volume, **ended, "at": at}, dry_run=dry_run)
