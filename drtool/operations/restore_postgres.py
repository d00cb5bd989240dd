"""A PostgreSQL volume back into a directory: base, WAL, recovery, proofs.

The chain is complete and every WAL object authenticated before the target is touched.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from mmap import ACCESS_READ, mmap
from pathlib import Path

from drtool.errors import Corrupt, Refused, UsageError
from drtool.operations.marks import loss_of
from drtool.operations.restore_job import Job, proof_rows, refuse_used_directory
from drtool.operations.results import ProofRow, RestoreResult
from drtool.policy.volumes import PostgresVolume
from drtool.repository.reader import Contents
from drtool.repository.snapshot import Snapshot
from drtool.sources.base import Entry, Piece, Target
from drtool.sources.postgres.binaries import Binaries, choose_account, find_binaries
from drtool.sources.postgres.coverage import SegmentPlan
from drtool.sources.postgres.pitr import RecoveryChoice, choose_recovery, decide_stop
from drtool.sources.postgres.prove import (
    SqlProof,
    find_superuser,
    prove_files,
    prove_pages,
    prove_server,
    prove_sql,
)
from drtool.sources.postgres.records import RecordWalk
from drtool.sources.postgres.recovery import Expected, Recovered, Recovery
from drtool.sources.postgres.restore import TargetWriter
from drtool.sources.postgres.staging import WAL, clear_staging, stage_history, stage_segment
from drtool.sources.postgres.survey import Survey, survey
from drtool.sources.postgres.wal import format_lsn

_SPARE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that was decided and fetched before the target is touched."""

    choice: RecoveryChoice
    snapshot: Snapshot
    contents: Contents
    entries: list[Entry]
    binaries: Binaries
    staged: Path
    expected: Expected


def restore_postgres(job: Job) -> RestoreResult:
    """Restore to the moment that was asked for, or to the newest that the store proves."""
    refuse_used_directory(job.request.directory)
    if job.request.as_of is not None and job.request.at is None:
        raise UsageError(
            "--as-of leaves out points, but not the WAL that came after the head",
            hint="Name a moment before the head as well: --at TIME.",
        )
    choice = _choose(job)
    binaries = find_binaries(
        choice.base.lineage.major,
        account=choose_account(job.owner),
        explicit=job.request.bin_dir,
        search_path=job.session.world.environment.get("PATH", ""),
    )
    snapshot = job.inventory.snapshots[choice.base.id]
    contents, entries = job.open(snapshot)
    if job.dry_run:
        return _result(job, snapshot, choice, None, (), _plan_notes(choice))
    staged = _beside(job.request.directory, "wal")
    try:
        expected = _stage(job, choice, staged)
        prepared = Prepared(choice, snapshot, contents, entries, binaries, staged, expected)
        return _restore(job, prepared)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _choose(job: Job) -> RecoveryChoice:
    held = job.inventory.held
    choice = choose_recovery(
        job.inventory.bases, {lineage: each.wal for lineage, each in held.items()}, target=job.request.at
    )
    _check_witness(job, choice)
    return choice


def _check_witness(job: Job, choice: RecoveryChoice) -> None:
    """Refuse when somebody saw more durable WAL than the store shows now, unless that loss is accepted."""
    if job.request.at is not None or job.request.accept_loss:
        return
    loss = loss_of(job.session, choice, choice.end_lsn, job.request.volume)
    if loss is not None:
        raise Refused(
            loss,
            hint="The store lost WAL or shows an old state: ask `drtool verify --level L0`, or take the loss with "
            "--accept-loss.",
        )


def _beside(directory: Path, what: str) -> Path:
    absolute = Path(os.path.abspath(directory))  # noqa: PTH100 - links are not to be followed
    return absolute.with_name(f"{absolute.name}.drtool-{what}")


def _stage(job: Job, choice: RecoveryChoice, staged: Path) -> Expected:
    """Fetch and authenticate the whole chain, lay it out, and find out where it ends."""
    job.watch.phase("verifying the WAL")
    held = job.inventory.held[choice.base.lineage]
    needed = len(choice.segments) * choice.base.wal_segment_size
    _check_room(staged.parent, needed)
    clear_staging(staged)
    keys = job.session.repository.run_keys()
    for timeline in choice.histories:
        stage_history(staged, timeline, held.read_history(timeline, keys))
    for plan in choice.segments:
        stage_segment(staged, plan, held.read_segment(plan, keys), base=choice.base)
        job.session.world.progress.advance(choice.base.wal_segment_size)
    return _expect(choice, staged)


def _check_room(directory: Path, needed: int) -> None:
    place = next(each for each in (directory, *directory.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE:
        raise Refused(
            f"{place} has {free >> 20} MiB free, and the WAL alone takes {needed >> 20} MiB",
            hint="Make room, or restore into another directory.",
        )


def _expect(choice: RecoveryChoice, staged: Path) -> Expected:
    """Walk all of the staged WAL, record by record: that it is whole, where it ends, how PostgreSQL is to stop."""
    base = choice.base
    with ExitStack() as opened:
        walk = RecordWalk(
            [_map(opened, staged, plan, base.wal_segment_size) for plan in choice.segments],
            start=choice.segments[0].start,
            segment_size=base.wal_segment_size,
            major=base.lineage.major,
            system_identifier=base.lineage.system_identifier,
        )
        found = survey(walk, moment=choice.target)
        end_lsn, is_whole, stopped = found.end_lsn, walk.is_whole, walk.stopped
    if end_lsn is None or not is_whole:
        raise Corrupt(
            f"the WAL of base backup {base.id} is broken behind {format_lsn(end_lsn or choice.segments[0].start)}: "
            f"{stopped}",
            hint="Restore a moment before it, or from another base: `drtool points` lists them.",
        )
    _refuse_foreign_tablespaces(found)
    stop = decide_stop(choice, newest_end=found.newest_end, later_end=found.later_end)
    return Expected("end" if stop == "earlier" else stop, end_lsn, _witnesses(choice, end_lsn))


def _map(opened: ExitStack, staged: Path, plan: SegmentPlan, segment_size: int) -> memoryview:
    """Return the valid bytes of a staged segment, without reading them into memory."""
    file = opened.enter_context((staged / WAL / plan.name(segment_size)).open("rb"))
    mapped = opened.enter_context(mmap(file.fileno(), 0, access=ACCESS_READ))
    return opened.enter_context(memoryview(mapped)[: plan.until - plan.start])


def _refuse_foreign_tablespaces(found: Survey) -> None:
    """Refuse a replay that would make a tablespace in a directory that holds something: production's, maybe."""
    used = [path for path in found.tablespaces if Path(path).is_dir() and any(Path(path).iterdir())]
    if used:
        raise Refused(
            f"the WAL makes a tablespace in {used[0]}, which is on this machine and not empty",
            hint="PostgreSQL replays it at that very place: restore on another machine, or in a container.",
        )


def _witnesses(choice: RecoveryChoice, end_lsn: int) -> tuple[int, ...]:
    """Return what the newest mark says, cut to whole records: the server may flush in the middle of one."""
    if choice.mark is None or choice.target is not None:
        return ()
    return (min(choice.mark.flush_lsn, end_lsn),)


def _restore(job: Job, prepared: Prepared) -> RestoreResult:
    request, choice = job.request, prepared.choice
    account = prepared.binaries.account
    owner = (account.uid, account.gid) if account else None
    target = Target(request.directory, owner, {"tablespace_map": request.tablespaces})
    proofs = _write(job, prepared, target)
    job.watch.phase("recovering")
    settings: Mapping[str, str] = prepared.contents.header["facts"].get("settings", {})
    work = _beside(request.directory, "recovery")
    with Recovery(choice, request.directory, prepared.binaries, work=work, settings=settings) as recovery:
        shutil.move(prepared.staged / WAL, work / WAL)
        _hand_over(work, owner)
        recovered = recovery.run(prepared.expected)
        job.watch.phase("proving")
        proofs += _prove_server(job, prepared, recovery)
        proofs.append(_reached(prepared, recovered))
        stays = request.leave == "running" and all(proof.ok for proof in proofs)
        notes = recovery.leave_running() if stays else recovery.finish()
    if not stays:
        proofs += list(proof_rows(prove_pages(prepared.binaries, request.directory)))
    return _result(job, prepared.snapshot, choice, recovered, tuple(proofs), (*notes, *choice.faults))


def _hand_over(work: Path, owner: tuple[int, int] | None) -> None:
    """Let the account that runs PostgreSQL read what is staged."""
    if owner is not None:
        for place in (work, *work.rglob("*")):
            os.chown(place, *owner)


def _write(job: Job, prepared: Prepared, target: Target) -> list[ProofRow]:
    """Write the base backup, and hold it against its own manifest."""
    job.watch.phase("writing the base backup")
    choice = prepared.choice
    writer = TargetWriter(
        target,
        major=choice.base.lineage.major,
        wal_bytes=len(choice.segments) * choice.base.wal_segment_size,
    )
    writer.begin(prepared.entries)

    def take(path: str, offset: int, data: bytes) -> None:
        writer.write(Piece(path, offset, data))
        job.session.world.progress.advance(len(data))

    job.reader.read(prepared.snapshot, prepared.contents, take)
    writer.finish()
    job.watch.phase("proving")
    return list(proof_rows([prove_files(prepared.binaries, job.request.directory)]))


def _prove_server(job: Job, prepared: Prepared, recovery: Recovery) -> list[ProofRow]:
    facts = prepared.contents.header["facts"]
    policy = job.policy(prepared.contents)
    volume = policy.volume(job.request.volume) if policy else None
    user = find_superuser(recovery.instance, _roles(job, volume))
    proofs = list(
        prove_server(recovery.instance, prepared.binaries, user=user, databases=facts.get("databases", []))
    )
    if isinstance(volume, PostgresVolume):
        named = [
            SqlProof(
                proof.name,
                proof.sql,
                proof.at_least,
                proof.equals,
                proof.database or job.session.world.secret(volume.database) or "postgres",
            )
            for proof in volume.proofs
        ]
        proofs += prove_sql(recovery.instance, named, user=user)
    return list(proof_rows(proofs))


def _roles(job: Job, volume: object) -> list[str]:
    """Return roles that may exist in the restored server, the likeliest first."""
    roles = ["postgres"]
    if isinstance(volume, PostgresVolume) and isinstance(volume.user, str):
        roles.append(volume.user)
    elif isinstance(volume, PostgresVolume):
        roles += _resolved(job, volume)
    return roles


def _resolved(job: Job, volume: PostgresVolume) -> list[str]:
    try:
        return [job.session.world.secret(volume.user) or ""]
    except UsageError:
        return []  # the Secret died with the cluster; the proof asks as postgres


def _reached(prepared: Prepared, recovered: Recovered) -> ProofRow:
    expected, target = prepared.expected, prepared.choice.target
    if expected.stop == "end" or target is None:
        reached, wanted = format_lsn(recovered.reached_lsn), format_lsn(expected.end_lsn)
        return ProofRow("WAL replayed to the last complete record", reached == wanted, wanted, reached)
    last = recovered.last_commit
    found = f"{last:%Y-%m-%d %H:%M:%S.%f} UTC" if last else "none after the base"
    asked = f"not after {target:%Y-%m-%d %H:%M:%S.%f} UTC"
    return ProofRow("last commit", last is None or last <= target, asked, found)


def _plan_notes(choice: RecoveryChoice) -> tuple[str, ...]:
    span = f"{len(choice.segments)} WAL segments up to {format_lsn(choice.end_lsn)} on timeline {choice.timeline}"
    return (f"base backup of {choice.base.end:%Y-%m-%d %H:%M:%S} UTC, then {span}", *choice.faults)


def _result(
    job: Job,
    snapshot: Snapshot,
    choice: RecoveryChoice,
    recovered: Recovered | None,
    proofs: tuple[ProofRow, ...],
    notes: tuple[str, ...],
) -> RestoreResult:
    seconds = job.watch.stop()
    moment: datetime = choice.target or choice.newest
    facts = {
        "base_lsn": format_lsn(choice.base.start_lsn),
        "end_lsn": format_lsn(recovered.reached_lsn if recovered else choice.end_lsn),
        "timeline": choice.timeline,
        "new_timeline": recovered.timeline if recovered else None,
        "last_commit": recovered.last_commit if recovered else None,
        "system_identifier": str(choice.base.lineage.system_identifier),
    }
    return RestoreResult(
        volume=snapshot.volume,
        source=snapshot.source,
        point=snapshot.name,
        target=job.request.at,
        moment=moment.astimezone(UTC),
        directory=str(job.request.directory),
        size=snapshot.size,
        seconds=seconds,
        phases=job.watch.phases,
        proofs=proofs,
        facts=facts,
        notes=tuple(notes),
        dry_run=job.dry_run,
    )
