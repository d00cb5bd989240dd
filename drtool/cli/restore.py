"""`drtool restore`: bring one volume back into a directory, proven."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import (
    AT,
    CHOICE,
    DRY_RUN,
    GRANT,
    PLACE,
    RECOVERY_KEY,
    Invocation,
    common,
    complete_volume,
)
from drtool.cli.output import Answer
from drtool.cli.table import Table
from drtool.cli.units import counted, rate, size, took, when
from drtool.errors import UsageError
from drtool.operations.restore import RestoreRequest, refuse_foreign_options, run_restore
from drtool.operations.results import RestoreResult
from drtool.policy.load import load_policy
from drtool.policy.moments import exact


@click.command("restore", epilog=exit_codes(4, 6, 8, *STORE))
@click.argument("volume", shell_complete=complete_volume)
@click.option(
    "--to-dir",
    "directory",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="An empty directory, or one that is not there yet.",
)
@AT
@click.option(
    "--leave",
    type=click.Choice(["stopped", "running"]),
    default="stopped",
    show_default=True,
    help="PostgreSQL: how the restored server is left.",
)
@click.option("--owner", metavar="USER", help="Who shall own the files; as root, who runs the server.")
@click.option(
    "--bin-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the server's programs are."
)
@click.option(
    "--tablespace", "tablespaces", multiple=True, metavar="OLD=NEW", help="Another place for a tablespace."
)
@click.option(
    "--appendonly", type=click.Choice(["yes", "no"]), help="Redis: the target's own appendonly setting."
)
@DRY_RUN
@common(PLACE, RECOVERY_KEY, GRANT, CHOICE)
def command(invocation: Invocation, *, dry_run: bool, **given: Any) -> int:
    """Bring one volume back into a directory.

    The newest point, or with --at the newest not after that moment (PostgreSQL: exactly that moment). The
    choice, the keys, the lists and all WAL are checked before the directory is touched; a fault in what is read
    afterwards leaves it empty. What was restored is proven. With a grant its point is restored, with nothing else at
    hand than what may get objects from the store.
    """
    request = restore_request(invocation, given)
    if invocation.policy is not None:
        for volume in load_policy(invocation.policy).volumes:
            if volume.name == request.volume:
                refuse_foreign_options(request, volume.source)
    return invocation.say(answer(run_restore(invocation.session(), request, dry_run=dry_run), invocation.now))


def restore_request(invocation: Invocation, given: dict[str, Any]) -> RestoreRequest:
    """Return the request that the options make. Raises UsageError."""
    return RestoreRequest(
        **{
            **given,
            "at": invocation.moment(given["at"]),
            "tablespaces": parse_moves(given["tablespaces"]),
            "appendonly": None if given["appendonly"] is None else given["appendonly"] == "yes",
        }
    )


def parse_moves(texts: Iterable[str]) -> dict[str, str]:
    """Return OLD=NEW pairs as a mapping. Raises UsageError."""
    moves: dict[str, str] = {}
    for text in texts:
        old, sign, new = text.partition("=")
        if not (old and sign and new) or old in moves:
            raise UsageError(
                f"--tablespace {text} does not say where to",
                hint="Write each once, as OLD=NEW, both absolute paths.",
            )
        moves[old] = new
    return moves


def answer(result: RestoreResult, now: datetime) -> Answer:
    """Return what a restore says: what was brought back, how long it took, what was proven."""
    proven = f"{counted(len(result.proofs), 'proof')} {'holds' if len(result.proofs) == 1 else 'hold'}"
    verdict = f"restore: {result.volume} is back as of {when(result.moment, now)}, {proven}"
    advice = f"It is in {result.directory}."
    if result.dry_run:
        verdict = f"restore: {result.volume} would come back as of {when(result.moment, now)}"
        advice = "Nothing was written; run it without --dry-run."
    spent = f" in {took(result.seconds)}, {rate(result.size, result.seconds)}"
    return Answer(
        command="restore",
        verdict=verdict,
        advice=advice,
        facts={"restore": result},
        lines=[
            "",
            f"point  {result.point}",
            f"asked  {exact(result.target) if result.target else 'the newest'}",
            f"size   {size(result.size)}{'' if result.dry_run else spent}",
            *([] if result.dry_run else _tables(result)),
            *(f"note: {note}" for note in result.notes),
        ],
    )


def _tables(result: RestoreResult) -> list[Table]:
    """Return how long each phase took, and what was proven."""
    proofs = [(row.name, "ok" if row.ok else "FAILED", row.expected, row.actual) for row in result.proofs]
    return [
        Table(("PHASE", "TOOK"), [(name, took(spent)) for name, spent in result.phases.items()]),
        Table(("PROOF", "RESULT", "EXPECTED", "FOUND"), proofs),
    ]
