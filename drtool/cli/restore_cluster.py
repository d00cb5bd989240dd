"""`drtool restore --to-cluster`: what is asked, what has to be confirmed, and how it ended."""

import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from drtool.cli import plan
from drtool.cli.confirm import confirm
from drtool.cli.options import Invocation
from drtool.cli.output import Answer
from drtool.cli.restore_report import refuse_unwritable, write_report
from drtool.cli.table import Table
from drtool.cli.target_options import wishes_of
from drtool.cli.units import NONE, counted, rate, took, when
from drtool.errors import DrtoolError, NotProven, ObjectiveMissed, UsageError
from drtool.operations.cluster_restore.replay import Enrolment
from drtool.operations.cluster_restore.results import (
    Challenge,
    CheckedReferences,
    ClusterRestoreRequest,
    ClusterRestoreResult,
    RestoredVolume,
)
from drtool.operations.cluster_restore.run import run_cluster_restore
from drtool.operations.plan import PlanResult, run_plan
from drtool.policy.sizes import size

# What a run that is gone on with has decided already.
_DECIDED: Final = {
    "volumes": "VOLUME",
    "namespace": "--namespace",
    "at": "--at",
    "aligned": "--aligned",
    "classes": "--storage-class",
    "registries": "--image-registry",
    "hosts": "--host",
    "in_place": "--in-place",
    "with_jobs": "--with-jobs",
    "as_captured": "--as-captured",
    "image": "--image",
    "as_of": "--as-of",
    "accept_late": "--accept-late",
    "accept_void": "--accept-void",
    "accept_loss": "--accept-loss",
}
_IF_EXISTS: Final = "refuse"  # what --if-exists is where nobody says


def restore_into(
    invocation: Invocation, context: str, given: dict[str, Any], *, confirmed: str | None, dry_run: bool
) -> int:
    """Restore into the cluster of context as the options say; return the exit code."""
    resume, abort, report = given.pop("resume"), given.pop("abort"), given.pop("report")
    if report is not None:
        _refuse_report(report, abort, dry_run=dry_run)
    enrolment = _enrolment(given.pop("admin_key_file"), given.pop("writer_secrets"))
    if resume or abort:
        _refuse_decided(given, resume, abort, dry_run=dry_run)
        request = ClusterRestoreRequest(context, resume=resume, abort=abort)
    else:
        wishes = replace(wishes_of(invocation, given), enrol=enrolment is not None)
        if dry_run:
            return invocation.say(
                plan.answer(run_plan(invocation.session(), context, wishes), invocation.now)
            )
        if not wishes.image:
            raise UsageError(
                "a restore into a cluster takes drtool's own image, for what works there",
                hint="Name the one that backed it up, or that you built from k8s/image: --image IMAGE.",
            )
        request = ClusterRestoreRequest(context, wishes)
    request = replace(request, machine=_machine(), enrolment=enrolment, reopen=invocation.session)
    return _run(invocation, request, report, confirmed)


def _run(
    invocation: Invocation, request: ClusterRestoreRequest, report: Path | None, confirmed: str | None
) -> int:
    """Do what is asked; say how it ended, and keep it as a report: where it fails, how far it came."""
    ended: list[ClusterRestoreResult] = []

    def guard(challenge: Challenge) -> None:
        invocation.progress.close()  # else the bars would be drawn over the question
        confirm(challenge, confirmed, undo=request.abort or "")

    try:
        result = run_cluster_restore(invocation.session(), request, guard, ended.append)
        if isinstance(result, ClusterRestoreResult):
            ended.append(result)
    except DrtoolError as fault:
        fault.facts = {"restore": ended[0]} if ended else {}
        raise
    finally:
        if report is not None and ended:
            write_report(report, ended[0])
    return invocation.say(answer(result, invocation.now))


def _refuse_report(report: Path, abort: str | None, *, dry_run: bool) -> None:
    if abort or dry_run:
        raise UsageError(
            "--report tells how a restore went, and none is made",
            hint=f"Leave it out with {'--abort' if abort else '--dry-run'}.",
        )
    refuse_unwritable(report)


def _enrolment(admin_key_file: Path | None, folder: Path | None) -> Enrolment | None:
    if (admin_key_file is None) != (folder is None):
        raise UsageError(
            "a new writer takes the admin sheet, and what it logs in to the store with",
            hint="Give --admin-key-file FILE and --writer-secrets DIR, or neither: then enrol one later.",
        )
    if admin_key_file is None or folder is None:
        return None
    return Enrolment(admin_key_file, folder)


def _refuse_decided(given: dict[str, Any], resume: str | None, abort: str | None, *, dry_run: bool) -> None:
    option = "--resume" if resume else "--abort"
    if resume and abort:
        raise UsageError("--resume and --abort contradict each other", hint="Leave out one of them.")
    if dry_run:
        raise UsageError(f"{option} has no dry run", hint="Leave out one of them; nothing was touched.")
    decided = [said for name, said in _DECIDED.items() if given[name]]
    for said in [*decided, *(["--if-exists"] if given["if_exists"] != _IF_EXISTS else [])]:
        raise UsageError(
            f"{said} was decided when run {resume or abort} began",
            hint=f"Leave it out: {option} takes the plan from the journal.",
        )


def _machine() -> str:
    """Return what tells this process from all others: names and numbers of containers may be the same."""
    return f"{socket.gethostname()}, process {os.getpid()}, {secrets.token_hex(4)}"


def answer(result: ClusterRestoreResult | PlanResult, now: datetime) -> Answer:
    """Return what a run says: the verdict, what was lost, how long it took, what was proven, what is left to do."""
    if isinstance(result, PlanResult):
        return plan.answer(result, now)
    where = f"{result.target.context}, namespace {result.namespace}"
    if result.outcome == "aborted":
        return Answer(
            command="restore",
            verdict=f"restore: run {result.run} into {where} is undone",
            advice="See the notes: not all is as it was before the run."
            if result.notes
            else "The cluster is as it was before the run.",
            facts={"restore": result},
            lines=[
                "",
                f"taken away  {result.undone['removed']}",
                f"put back    {len(result.undone['put_back'])}",
            ]
            + [f"note: {note}" for note in result.notes],
        )
    proofs = sum(len(each.proofs) for each in result.volumes)
    return Answer(
        command="restore",
        verdict=f"restore: {result.policy} is {result.outcome} in {where}, {counted(proofs, 'proof')} held",
        advice=f"It took {took(result.seconds)}; {_left_to_do(result)}",
        facts={"restore": result},
        lines=[*_lines(result, now)],
        exit_code=_exit_code(result),
        alarm=bool(_exit_code(result)),
    )


def _left_to_do(result: ClusterRestoreResult) -> str:
    if not all(each.is_whole for each in result.references):
        return "not every file that rows refer to is known to be there: see below."
    return "the notes say what is left to do." if result.notes else "nothing is left to do."


def _exit_code(result: ClusterRestoreResult) -> int:
    if not all(each.is_whole for each in result.references):
        return NotProven.exit_code
    return ObjectiveMissed.exit_code if result.missed else 0


def _lines(result: ClusterRestoreResult, now: datetime) -> Iterator[str | Table]:
    yield ""
    yield f"run      {result.run}"
    yield f"cluster  {result.target.where}, uid {result.target.uid or 'not to be seen'}"
    yield f"took     {took(result.seconds)}, promised were {took(result.rto.total_seconds())}"
    yield from (f"MISSED   {text}" for text in result.missed)
    yield Table(
        ("VOLUME", "BACK TO", "LOST", "PROMISED", "SIZE", "RATE", "PROOFS"),
        [_row(each, now) for each in result.volumes],
    )
    yield Table(("PHASE", "TOOK"), [(name, took(spent)) for name, spent in result.phases.items()])
    proofs = [
        (each.volume, proof.name, "ok" if proof.ok else "FAILED", proof.expected, proof.actual)
        for each in result.volumes
        for proof in each.proofs
    ]
    yield Table(("VOLUME", "PROOF", "RESULT", "EXPECTED", "FOUND"), proofs)
    yield Table(
        ("REFERENCES", "ROWS OF", "FILES OF", "LISTED", "MISSING"), [*map(_counts, result.references)]
    )
    for each in result.references:
        yield from (f"MISSING  {each.name}: {path}" for path in each.first)
        if each.missing > len(each.first):
            yield f"MISSING  {each.name}: {each.missing - len(each.first)} more"
        if each.failed:
            yield f"UNKNOWN  {each.name}: nobody can tell what is missing: {each.failed}"
    yield from (f"note: {note}" for note in result.notes)


def _counts(each: CheckedReferences) -> tuple[str, ...]:
    counts = ("unknown", "unknown") if each.failed else (str(each.listed), str(each.missing))
    return each.name, each.database, each.files, *counts


def _row(each: RestoredVolume, now: datetime) -> tuple[str, ...]:
    return (
        each.volume,
        when(each.moment, now),
        took(max(0.0, each.loss.total_seconds())),
        took(each.rpo.total_seconds()),
        size(each.size),
        rate(each.size, each.seconds) if each.seconds else NONE,
        str(len(each.proofs)),
    )
