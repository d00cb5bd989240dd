"""A volume of files back into a directory: the tree as it was, proven by reading it again."""

from collections.abc import Iterator

from drtool.operations.restore_job import (
    Job,
    newest_before,
    pieces_of,
    refuse_newer_unreadable,
    result_of,
)
from drtool.operations.results import RestoreResult
from drtool.sources.base import Target
from drtool.sources.files.capture import files_notes
from drtool.sources.files.layout import check_entries
from drtool.sources.files.metadata import Unset
from drtool.sources.files.prove import prove
from drtool.sources.files.restore import check_target, restore, undo


def restore_files(job: Job) -> RestoreResult:
    """Restore the newest point not after the moment that was asked for."""
    request = job.request
    snapshot = newest_before(job)
    refuse_newer_unreadable(job, snapshot)
    contents, entries = job.open(snapshot)
    target = Target(request.directory, job.owner)
    check_entries(entries)
    check_target(entries, target)
    notes = list(files_notes(snapshot.facts))
    if job.dry_run:
        return result_of(job, snapshot, (), notes)
    job.begin(snapshot, lambda: undo(entries, request.directory))
    job.watch.phase("writing")
    restored = restore(entries, pieces_of(job, snapshot, contents), target)
    job.watch.phase("proving")
    proofs = tuple(prove(request.directory, entries, restored))
    return result_of(job, snapshot, proofs, [*notes, *_unset_notes(restored.metadata.unset)])


def _unset_notes(unset: Unset) -> Iterator[str]:
    """Yield what could not be given back, and what that takes."""
    for what, paths in sorted(unset.paths.items()):
        yield f"{what} could not be set for {len(paths)} files: this takes root, or a file system that has it"
