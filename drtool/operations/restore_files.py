"""A volume of files back into a directory: the tree as it was, proven by reading it again."""

from collections.abc import Iterator

from drtool.operations.bridge import Bridge
from drtool.operations.restore_job import Job, newest_before, refuse_newer_unreadable
from drtool.operations.results import RestoreResult
from drtool.repository.reader import Contents
from drtool.repository.snapshot import Snapshot
from drtool.sources.base import Piece, Proof, Target
from drtool.sources.files.capture import files_notes
from drtool.sources.files.layout import check_entries
from drtool.sources.files.metadata import Unset
from drtool.sources.files.prove import prove
from drtool.sources.files.restore import check_target, restore


def restore_files(job: Job) -> RestoreResult:
    """Restore the newest point not after the moment that was asked for."""
    request = job.request
    snapshot = newest_before(list(job.inventory.snapshots.values()), request.at, request.volume)
    refuse_newer_unreadable(job, snapshot)
    contents, entries = job.open(snapshot)
    target = Target(request.directory, job.owner)
    check_entries(entries)
    check_target(entries, target)
    notes = list(files_notes(snapshot.facts))
    if job.dry_run:
        return _result(job, snapshot, (), notes)
    job.watch.phase("writing")
    restored = restore(entries, _pieces(job, snapshot, contents), target)
    job.watch.phase("proving")
    proofs = tuple(prove(request.directory, entries, restored))
    return _result(job, snapshot, proofs, [*notes, *_unset_notes(restored.metadata.unset)])


def _pieces(job: Job, snapshot: Snapshot, contents: Contents) -> Iterator[Piece]:
    for piece in Bridge(lambda take: job.reader.read(snapshot, contents, take)):
        job.session.world.progress.advance(len(piece.data))
        yield piece


def _unset_notes(unset: Unset) -> Iterator[str]:
    """Yield what could not be given back, and what that takes."""
    for what, paths in sorted(unset.paths.items()):
        yield f"{what} could not be set for {len(paths)} files: this takes root, or a file system that has it"


def _result(job: Job, snapshot: Snapshot, proofs: tuple[Proof, ...], notes: list[str]) -> RestoreResult:
    seconds = job.watch.stop()
    return RestoreResult(
        volume=snapshot.volume,
        source=snapshot.source,
        point=snapshot.name,
        target=job.request.at,
        moment=snapshot.begin,
        directory=str(job.request.directory),
        size=snapshot.size,
        seconds=seconds,
        phases=job.watch.phases,
        proofs=proofs,
        facts=snapshot.facts,
        notes=tuple(notes),
        dry_run=job.dry_run,
    )
