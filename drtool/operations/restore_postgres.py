"""A PostgreSQL volume back into a directory: base, WAL, recovery, proofs.

The chain is complete and every WAL object authenticated before the target is touched.
"""

import errno
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from drtool.errors import Refused
from drtool.operations.choose_postgres import choose
from drtool.operations.granted import granted_choice
from drtool.operations.prove_postgres import prove_recovered
from drtool.operations.restore_job import Job, refuse_used_directory
from drtool.operations.results import RestoreResult
from drtool.operations.stage_postgres import look_at_wal, stage_wal
from drtool.operations.unfinished import beside, left_beside
from drtool.policy.moments import exact, to_second
from drtool.policy.volumes import PostgresVolume
from drtool.repository.reader import Contents
from drtool.repository.snapshot import Snapshot
from drtool.sources.base import Entry, Piece, Proof, Target
from drtool.sources.postgres.binaries import Binaries, choose_account, find_binaries
from drtool.sources.postgres.layout import linked_tablespaces, server_on
from drtool.sources.postgres.pitr import RecoveryChoice
from drtool.sources.postgres.prove import (
    prove_files,
    prove_pages,
)
from drtool.sources.postgres.recovery import Expected, Recovered, Recovery
from drtool.sources.postgres.restore import TargetWriter
from drtool.sources.postgres.staging import WAL
from drtool.sources.postgres.wal import format_lsn


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that was decided and fetched before the target is touched."""

    choice: RecoveryChoice
    snapshot: Snapshot
    contents: Contents
    binaries: Binaries
    writer: TargetWriter
    staged: Path
    expected: Expected


def restore_postgres(job: Job) -> RestoreResult:
    """Restore to the moment that was asked for, or to the newest that the store proves."""
    refuse_used_directory(job.request.directory)
    choice = granted_choice(job, job.session.grant) if job.session.grant is not None else choose(job)
    binaries = find_binaries(
        choice.base.lineage.major,
        account=choose_account(job.owner),
        explicit=_bin_dir(job),
        search_path=job.session.world.environment.get("PATH", ""),
    )
    snapshot = job.inventory.snapshots[choice.base.id]
    contents, entries = job.open(snapshot)
    writer = _writer(job, choice, binaries)
    _check(job, writer, entries)
    if job.dry_run:
        return _planned(job, snapshot, choice, writer)
    staged = beside(job.request.directory, "wal")
    job.begin(snapshot, lambda: _undo(job, writer), places=writer.tablespaces.values())
    try:
        found = stage_wal(job, choice, staged)
        for note in _tablespace_notes({}, found.tablespaces, "goes to"):
            job.session.world.progress.note(note)
        prepared = Prepared(found.choice, snapshot, contents, binaries, writer, staged, found.expected)
        restored = _restore(job, prepared)
        return _with_tablespaces(restored, writer.captured, linked_tablespaces(job.request.directory))
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _bin_dir(job: Job) -> Path | None:
    """Return where the server's programs are, if the command line or the policy says so."""
    if job.request.bin_dir is not None or job.session.policy is None:
        return job.request.bin_dir
    volume = job.session.policy.find(job.request.volume)
    said = volume.bin_dir if isinstance(volume, PostgresVolume) else None
    return job.session.world.file(said)


def _restore(job: Job, prepared: Prepared) -> RestoreResult:
    request, choice = job.request, prepared.choice
    proofs = _write(job, prepared)
    job.watch.phase("recovering")
    settings: Mapping[str, str] = prepared.contents.header["facts"].get("settings", {})
    work = beside(request.directory, "recovery")
    with Recovery(choice, request.directory, prepared.binaries, work=work, settings=settings) as recovery:
        shutil.move(prepared.staged / WAL, work / WAL)
        _hand_over(work, _owner(prepared.binaries))
        recovered = recovery.run(prepared.expected)
        job.watch.phase("proving")
        proofs += prove_recovered(job, prepared.contents, prepared.binaries, recovery, recovered)
        proofs.append(_reached(prepared, recovered))
        stays = request.leave == "running" and all(proof.ok for proof in proofs)
        notes = recovery.leave_running() if stays else recovery.finish()
    if not stays:
        proofs += list(prove_pages(prepared.binaries, request.directory))
    return _result(job, prepared.snapshot, choice, recovered, tuple(proofs), (*notes, *choice.faults))


def _hand_over(work: Path, owner: tuple[int, int] | None) -> None:
    """Let the account that runs PostgreSQL read what is staged."""
    if owner is not None:
        for place in (work, *work.rglob("*")):
            os.chown(place, *owner)


def _owner(binaries: Binaries) -> tuple[int, int] | None:
    return (binaries.account.uid, binaries.account.gid) if binaries.account else None


def _writer(job: Job, choice: RecoveryChoice, binaries: Binaries) -> TargetWriter:
    return TargetWriter(
        Target(job.request.directory, _owner(binaries), {"tablespace_map": job.request.tablespaces}),
        major=choice.base.lineage.major,
        wal_bytes=len(choice.segments) * choice.base.wal_segment_size,
    )


def _check(job: Job, writer: TargetWriter, entries: Sequence[Entry]) -> None:
    """Check all of it; where there is not the room, say what takes some and need not."""
    try:
        writer.check(entries)
    except Refused as refused:
        left = left_beside(job.request.directory)
        if left and "disks" in refused.facts:
            names, verb = " and ".join(map(str, left)), "is" if len(left) == 1 else "are"
            removal = shlex.join(["rm", "-rf", "--", *map(str, left)])
            refused.hint += (
                f" {names} {verb} of an earlier restore: where neither it nor a server that it started is at work any "
                f"more, `{removal}` makes some."
            )
        raise


def _undo(job: Job, writer: TargetWriter) -> None:
    """Remove what was written, and what lies beside it. Raises OSError where a server runs on it still."""
    if (server := server_on(job.request.directory)) is not None:
        raise OSError(errno.EBUSY, f"a server runs on it, as process {server}")
    writer.undo()
    shutil.rmtree(beside(job.request.directory, "recovery"), ignore_errors=True)


def _write(job: Job, prepared: Prepared) -> list[Proof]:
    """Write the base backup, and hold it against its own manifest."""
    job.watch.phase("writing the base backup")
    writer = prepared.writer

    def take(path: str, offset: int, data: bytes) -> None:
        writer.write(Piece(path, offset, data))
        job.session.world.progress.advance(len(data))

    try:
        writer.begin()
        job.reader.read(prepared.snapshot, prepared.contents, take)
        writer.finish()
    except BaseException:
        writer.undo()  # nothing half-written is left, and the same command can be given again
        raise
    job.watch.phase("proving")
    return [prove_files(prepared.binaries, job.request.directory)]


def _reached(prepared: Prepared, recovered: Recovered) -> Proof:
    expected, target = prepared.expected, prepared.choice.target
    if expected.stop == "end" or target is None:
        reached, wanted = format_lsn(recovered.reached_lsn), format_lsn(expected.end_lsn)
        return Proof("WAL replayed to the last complete record", reached == wanted, wanted, reached)
    last = recovered.last_commit
    found = exact(last) if last else "none after the base"
    asked = f"not after {exact(target)}"
    return Proof("last commit", last is None or last <= target, asked, found)


def _plan_notes(choice: RecoveryChoice) -> tuple[str, ...]:
    count = len(choice.segments)
    segments = f"{count} WAL segment{'' if count == 1 else 's'}"
    span = f"{segments} up to {format_lsn(choice.end_lsn)} on timeline {choice.timeline}"
    return (f"base backup of {to_second(choice.base.end)}, then {span}", *choice.faults)


def _planned(job: Job, snapshot: Snapshot, choice: RecoveryChoice, writer: TargetWriter) -> RestoreResult:
    """Return what a dry run says. WAL is read where it is little; else the tablespaces that it makes are not known."""
    looked_at = look_at_wal(job, choice)
    choice = looked_at.choice if looked_at else choice
    unread = (
        "the WAL was not read: a tablespace that it makes is written where it was, outside of the directory"
    )
    notes = (*_plan_notes(choice), *([unread] if looked_at is None else []))
    places = {**writer.tablespaces, **(looked_at.tablespaces if looked_at else {})}
    return _with_tablespaces(_result(job, snapshot, choice, None, (), notes), writer.captured, places)


def _tablespace_notes(captured: Mapping[str, str], places: Mapping[str, Path], verb: str) -> Iterator[str]:
    for oid, place in places.items():
        origin = f"was in {captured[oid]}" if oid in captured else "the WAL makes"
        yield f"tablespace {oid}, which {origin}, {verb} {place}"


def _with_tablespaces(
    result: RestoreResult, captured: Mapping[str, str], places: Mapping[str, Path]
) -> RestoreResult:
    """Return a result that says where each tablespace went: outside of the directory, where nobody would look."""
    told = [{"oid": oid, "was": captured.get(oid), "directory": str(place)} for oid, place in places.items()]
    verb = "goes to" if result.dry_run else "is in"
    notes = _tablespace_notes(captured, places, verb)
    return replace(result, facts={**result.facts, "tablespaces": told}, notes=(*notes, *result.notes))


def _result(
    job: Job,
    snapshot: Snapshot,
    choice: RecoveryChoice,
    recovered: Recovered | None,
    proofs: tuple[Proof, ...],
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
        "major": choice.base.lineage.major,
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
