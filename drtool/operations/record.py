"""Run records: what ran and how it ended, kept where a key that may say so is at hand."""

from drtool.errors import DrtoolError
from drtool.operations.session import Session
from drtool.repository.format.names import json_time
from drtool.repository.format.record import Json
from drtool.repository.runs import RunKind, put_run


def record_run(session: Session, kind: RunKind, value: Json, *, dry_run: bool = False) -> str | None:
    """Keep value, with the time, as a run record; return why it was not kept, None when all is well.

    A record that cannot be kept never turns a success into a failure, nor hides what a run failed with.
    """
    records = session.repository.records
    if dry_run:
        return "a dry run writes nothing"
    if records.keys.signing is None:
        return "no key that may sign run records is at hand"
    try:
        now = session.repository.store.now()
        put_run(records, kind, now, {**value, "end": json_time(now)})
    except DrtoolError as fault:
        told = f"the run could not be recorded: {fault.message}"
        session.world.progress.note(told)
        return told
    return None
