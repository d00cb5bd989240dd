"""`drtool restore --to-cluster`: what is asked, what has to be confirmed, and how it ended."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from drtool.cli import plan
from drtool.cli.options import Invocation
from drtool.cli.output import Answer
from drtool.cli.table import Table
from drtool.cli.target_options import wishes_of
from drtool.cli.units import NONE, counted, rate, size, took, when
from drtool.errors import ObjectiveMissed, Refused, UsageError
from drtool.operations.cluster_restore.replay import Enrolment
from drtool.operations.cluster_restore.results import (
    Challenge,
    ClusterRestoreRequest,
    ClusterRestoreResult,
    RestoredVolume,
)
from drtool.operations.cluster_restore.run import run_cluster_restore
from drtool.operations.plan import PlanResult, run_plan

# What a run that is gone on with has decided already.
_DECIDED: Final = {
    "volumes": "VOLUME",
    "namespace": "--namespace",
    "at": "--at",
    "aligned": "--aligned",
    "classes": "--storage-class",
    "registries": "--image-registry",
    "hosts": "--host",
    "with_jobs": "--with-jobs",
    "image": "--image",
    "as_of": "--as-of",
    "accept_late": "--accept-late",
    "accept_void": "--accept-void",
    "accept_loss": "--accept-loss",
}


def restore_into(
    invocation: Invocation, context: str, given: dict[str, Any], *, confirmed: str | None, dry_run: bool
) -> int:
    """Restore into the cluster of context as the options say; return the exit code."""
    resume, abort = given.pop("resume"), given.pop("abort")
    enrolment = _enrolment(given.pop("admin_key_file"), given.pop("writer_secrets"))
    if resume or abort:
        _refuse_decided(given, resume, abort)
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
    session = invocation.session()
    result = run_cluster_restore(session, request, lambda challenge: confirm(challenge, confirmed))
    return invocation.say(answer(result, invocation.now))


def _enrolment(admin_key_file: Path | None, secrets: Path | None) -> Enrolment | None:
    if (admin_key_file is None) != (secrets is None):
        raise UsageError(
            "a new writer takes the admin sheet, and what it logs in to the store with",
            hint="Give --admin-key-file FILE and --writer-secrets DIR, or neither: then enrol one later.",
        )
    if admin_key_file is None or secrets is None:
        return None
    return Enrolment(admin_key_file, secrets)


def _refuse_decided(given: dict[str, Any], resume: str | None, abort: str | None) -> None:
    option = "--resume" if resume else "--abort"
    if resume and abort:
        raise UsageError("--resume and --abort contradict each other", hint="Leave out one of them.")
    for name, said in _DECIDED.items():
        if given[name]:
            raise UsageError(
                f"{said} was decided when run {resume or abort} began",
                hint=f"Leave it out: {option} takes the plan from the journal.",
            )


def _machine() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}"


def confirm(challenge: Challenge, confirmed: str | None, ask: Callable[[str], str] | None = None) -> None:
    """Return when somebody has said that this cluster is meant. Raises Refused; nothing is touched then.

    confirmed is what --confirm-target said: the cluster's uid, or its address where that cannot be read.
    """
    target = challenge.target
    identity = target.uid or target.where
    if confirmed is not None:
        if confirmed != identity:
            raise Refused(
                f"--confirm-target {confirmed} is not {target.context}, whose uid is {identity}",
                hint="Look whether this is the cluster that you mean; nothing was touched.",
            )
        return
    if ask is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(
            f"nobody is here to confirm that {target.context} at {target.where} is meant",
            hint=f"Look whether it is; then give --confirm-target {identity}.",
        )
    for line in _told(challenge):
        click.echo(line, err=True)
    said = (ask or _ask)(f"To go on, type `{challenge.phrase}`: ")
    if said.strip() != challenge.phrase:
        raise Refused(
            "that is not what was asked for", hint="Nothing was touched. Begin again if you meant it."
        )


def _ask(question: str) -> str:
    return str(click.prompt(question, prompt_suffix="", default="", show_default=False, err=True))


def _told(challenge: Challenge) -> Iterator[str]:
    target = challenge.target
    yield f"About to restore {challenge.policy} into namespace {challenge.namespace} of"
    yield f"  context {target.context}, {target.where}, {target.version}, uid {target.uid or 'not to be seen'}"
    replaced = (
        f"; {counted(challenge.replaced, 'object')} there will be deleted first" if challenge.replaced else ""
    )
    yield f"  {counted(challenge.applied, 'object')} will be applied{replaced}"


def answer(result: ClusterRestoreResult | PlanResult, now: datetime) -> Answer:
    """Return what a run says: the verdict, what was lost, how long it took, what was proven, what is left to do."""
    if isinstance(result, PlanResult):
        return plan.answer(result, now)
    where = f"{result.target.context}, namespace {result.namespace}"
    if result.outcome == "aborted":
        return Answer(
            command="restore",
            verdict=f"restore: run {result.run} into {where} is undone",
            advice="The cluster is as it was before the run.",
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
        advice=result.notes[-1] if result.notes else f"It took {took(result.seconds)}.",
        facts={"restore": result},
        lines=[*_lines(result, now)],
        exit_code=ObjectiveMissed.exit_code if result.missed else 0,
        alarm=bool(result.missed),
    )


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
    yield from (f"note: {note}" for note in result.notes)


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
