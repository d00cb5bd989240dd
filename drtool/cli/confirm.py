"""The guard before a cluster is written to: which cluster is meant, and somebody who says so."""

import sys
from collections.abc import Callable, Iterator

import click

from drtool.cli.output import say_aside
from drtool.cli.units import counted
from drtool.errors import Refused
from drtool.operations.cluster_restore.results import Challenge
from drtool.recovery.target import TargetCluster


def confirm(
    challenge: Challenge, confirmed: str | None, ask: Callable[[str], str] | None = None, undo: str = ""
) -> None:
    """Return when somebody has said that this cluster is meant. Raises Refused; nothing is touched then.

    confirmed is what --confirm-target said: the cluster's uid; where that cannot be read, the fingerprint of its CA and
    its address, behind those of the cluster that the run began in where these differ by the CA. undo is the run that
    shall be undone, where that is what is asked.
    """
    target = challenge.target
    identity = challenge.identity
    if confirmed is not None:
        if confirmed != identity:
            if challenge.began is not None:
                raise _another_authority(challenge, challenge.began)
            known_by = "uid" if target.uid else "CA and address" if target.authority else "address"
            raise Refused(
                f"--confirm-target {confirmed} is not {target.context}, whose {known_by} is {identity}",
                hint="Look whether this is the cluster that you mean; nothing was touched.",
            )
        return
    if ask is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        if challenge.began is not None:
            raise _another_authority(challenge, challenge.began)
        raise Refused(
            f"nobody is here to confirm that {target.context} at {target.where} is meant",
            hint=f"Look whether it is; then give --confirm-target {identity}.",
        )
    for line in _told(challenge, undo):
        say_aside(line)
    said = (ask or _ask)(f"To go on, type `{challenge.phrase}`: ")
    if said.strip() != challenge.phrase:
        raise Refused(
            "that is not what was asked for", hint="Nothing was touched. Begin again if you meant it."
        )


def _another_authority(challenge: Challenge, began: TargetCluster) -> Refused:
    target = challenge.target
    return Refused(
        f"{target.context} at {target.where} is not the cluster that this run began in, or its CA was changed since: "
        f"{target.seen}; then {began.seen}",
        hint=f"Look which of them it is. Only where its CA was changed, give --confirm-target {challenge.identity}.",
    )


def _ask(question: str) -> str:
    return str(click.prompt(question, prompt_suffix="", default="", show_default=False, err=True))


def _told(challenge: Challenge, undo: str) -> Iterator[str]:
    target = challenge.target
    if undo:
        yield f"About to undo run {undo} of {challenge.policy} in namespace {challenge.namespace} of"
    else:
        yield f"About to restore {challenge.policy} into namespace {challenge.namespace} of"
    yield f"  context {target.context}, {target.where}, {target.version}, {target.seen}"
    if challenge.began is not None:
        yield f"  where the run began was {challenge.began.seen}: ANOTHER CLUSTER, unless its CA was changed since"
    if undo:
        yield "  what the run made there will be deleted, and what it changed be given back"
        return
    for each in challenge.taken_over:
        yield f"  the new writer's config takes over, for good: {each}"
    if challenge.switched:
        yield f"  claims get another volume, of an earlier moment: {', '.join(challenge.switched)}"
        yield f"  what runs stops for it: {', '.join(challenge.stopped) or 'nothing'}"
        return
    deleted = (
        f"; {counted(challenge.replaced, 'object')} there will be deleted first" if challenge.replaced else ""
    )
    yield f"  {counted(challenge.applied, 'object')} will be applied{deleted}"
