"""A namespace's objects back into a directory: a JSON file each, proven one by one."""

from drtool.operations.restore_job import (
    Job,
    newest_before,
    pieces_of,
    refuse_newer_unreadable,
    refuse_used_directory,
    result_of,
)
from drtool.operations.results import RestoreResult
from drtool.sources.base import Target
from drtool.sources.kubernetes.manifests_notes import manifests_notes
from drtool.sources.kubernetes.restore import check_entries, prove, restore, undo


def restore_objects(job: Job) -> RestoreResult:
    """Restore the newest point not after the moment that was asked for."""
    request = job.request
    snapshot = newest_before(job)
    refuse_newer_unreadable(job, snapshot)
    contents, entries = job.open(snapshot)
    check_entries(entries)
    refuse_used_directory(request.directory)
    notes = list(manifests_notes(snapshot.facts))
    if job.dry_run:
        return result_of(job, snapshot, (), notes)
    job.begin(snapshot, lambda: undo(entries, request.directory))
    job.watch.phase("writing")
    hashes = restore(entries, pieces_of(job, snapshot, contents), Target(request.directory, job.owner))
    job.watch.phase("proving")
    return result_of(job, snapshot, tuple(prove(request.directory, hashes)), notes)
