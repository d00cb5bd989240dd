"""`drtool restore`: bring one volume back into a directory, or a whole system into a cluster, proven."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import (
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
from drtool.cli.restore_cluster import restore_into
from drtool.cli.table import Table
from drtool.cli.target_options import WISHES
from drtool.cli.units import counted, rate, took, when
from drtool.errors import UsageError
from drtool.operations.restore import RestoreRequest, refuse_foreign_options, run_restore
from drtool.operations.results import RestoreResult
from drtool.policy.load import load_policy
from drtool.policy.moments import exact
from drtool.policy.sizes import size

OF_A_CLUSTER: Final[Mapping[str, tuple[str, Any]]] = {
    "confirm_target": ("--confirm-target", None),
    "resume": ("--resume", None),
    "abort": ("--abort", None),
    "namespace": ("--namespace", None),
    "aligned": ("--aligned", False),
    "classes": ("--storage-class", ()),
    "registries": ("--image-registry", ()),
    "hosts": ("--host", ()),
    "if_exists": ("--if-exists", "refuse"),
    "in_place": ("--in-place", False),
    "with_jobs": ("--with-jobs", False),
    "as_captured": ("--as-captured", False),
    "image": ("--image", ""),
    "admin_key_file": ("--admin-key-file", None),
    "writer_secrets": ("--writer-secrets", None),
    "report": ("--report", None),
}
OF_BOTH: Final = ("at", "volumes", "as_of", "accept_late", "accept_void", "accept_loss")
OF_A_DIRECTORY: Final[Mapping[str, tuple[str, Any]]] = {
    "leave": ("--leave", "stopped"),
    "owner": ("--owner", None),
    "bin_dir": ("--bin-dir", None),
    "tablespaces": ("--tablespace", ()),
    "appendonly": ("--appendonly", None),
}


@click.command("restore", epilog=exit_codes(4, 6, 8, 9, *STORE))
@click.argument("volumes", nargs=-1, metavar="[VOLUME]...", shell_complete=complete_volume)
@click.option(
    "--to-dir",
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="An empty directory, or one that is not there yet: for one volume.",
)
@click.option(
    "--to-cluster", "context", metavar="CONTEXT", help="A context of the kubeconfig: for a whole system."
)
@click.option(
    "--confirm-target", metavar="UID", help="The uid of the cluster that is meant, where nobody is asked."
)
@click.option("--resume", metavar="RUN", help="Go on with a run that was stopped, from its journal.")
@click.option("--abort", metavar="RUN", help="Undo a run that has not started anything yet.")
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
@click.option(
    "--admin-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The admin sheet: enrol a new writer, protect the restored system again, and take a first backup.",
)
@click.option(
    "--writer-secrets",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What the new writer logs in to the store with: a folder with a file SECRET/KEY each, as `render` has it.",
)
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A new HTML file for how a restore into a cluster went: loss, time, proofs, what is left to do.",
)
@DRY_RUN
@common(WISHES, PLACE, RECOVERY_KEY, GRANT, CHOICE)
def command(invocation: Invocation, *, directory: Path | None, context: str | None, **given: Any) -> int:
    """Bring one volume back into a directory, or a whole system into a cluster.

    Into a directory: the newest point, or with --at the newest not after that moment (PostgreSQL: exactly that
    moment). The choice, the keys, the lists and all WAL are checked before the directory is touched; a fault in what is
    read afterwards leaves it empty. What was restored is proven. Told to end (Ctrl-C, SIGTERM), it removes what it
    wrote; after a kill the next run says which point lies there half-written, and how to go on. With a grant its point
    is restored, with nothing else at hand than what may get objects from the store.

    Into a cluster: the plan that `drtool plan` shows is executed, step by step, each journaled in the repository. The
    kit is enough. Workloads wait until their data is back and proven; then they start tier by tier, CronJobs last. A
    run that was stopped is gone on with by --resume, and undone by --abort as long as nothing was started: both take
    the journal's plan, so no other option says it again. Before anything is written, the cluster is named, and a line
    to be typed; where nobody can type, --confirm-target has to name its uid.
    """
    if (directory is None) == (context is None):
        raise UsageError("a restore goes to one place", hint="Give --to-dir DIR, or --to-cluster CONTEXT.")
    refuse_options_of_another(given, "directory" if context is None else "cluster")
    if context is not None:
        chosen = {name: given[name] for name in (*OF_A_CLUSTER, *OF_BOTH) if name != "confirm_target"}
        return restore_into(
            invocation, context, chosen, confirmed=given["confirm_target"], dry_run=given["dry_run"]
        )
    return _restore_volume(invocation, {**given, "directory": directory})


def _restore_volume(invocation: Invocation, given: dict[str, Any]) -> int:
    if len(given["volumes"]) != 1:
        raise UsageError("a directory takes one volume", hint="Name it: drtool restore VOLUME --to-dir DIR.")
    dry_run = given.pop("dry_run")
    volume = given.pop("volumes")[0]
    wanted = {name: value for name, value in given.items() if name not in OF_A_CLUSTER}
    request = restore_request(invocation, {**wanted, "volume": volume})
    if invocation.policy is not None:
        for each in load_policy(invocation.policy).volumes:
            if each.name == request.volume:
                refuse_foreign_options(request, each.source)
    return invocation.say(answer(run_restore(invocation.session(), request, dry_run=dry_run), invocation.now))


def refuse_options_of_another(given: dict[str, Any], place: str) -> None:
    """Return when all options that were given do something for a restore to place. Raises UsageError."""
    foreign, other = (OF_A_CLUSTER, "cluster") if place == "directory" else (OF_A_DIRECTORY, "directory")
    for name, (option, default) in foreign.items():
        if given.get(name) not in (default, None):
            raise UsageError(f"{option} is for a restore into a {other}", hint="Leave it out.")


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
