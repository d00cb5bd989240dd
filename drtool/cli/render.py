"""`drtool render`: a policy as CronJobs and all that they need, for `kubectl apply -k`."""

from pathlib import Path

import click

from drtool import __version__
from drtool.cli.exits import exit_codes
from drtool.cli.options import DRY_RUN, POLICY, Invocation, common
from drtool.cli.output import Answer
from drtool.cli.table import Table
from drtool.cli.units import counted
from drtool.operations.render import RenderOptions, RenderResult, run_render


@click.command("render", epilog=exit_codes(5))
@click.option(
    "--image",
    metavar="IMAGE",
    default=f"drtool:{__version__}",
    show_default=True,
    help="drtool's image, as the nodes know it; built from k8s/image/Containerfile.",
)
@click.option(
    "--output",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("drtool-overlay"),
    show_default=True,
    help="The folder to write.",
)
@click.option(
    "--existing-secrets",
    is_flag=True,
    help="drtool's own Secrets are in the namespace already: make none from files.",
)
@click.option("--force", is_flag=True, help="Overwrite files that were changed by hand.")
@DRY_RUN
@common(POLICY)
def command(
    invocation: Invocation,
    image: str,
    directory: Path,
    *,
    existing_secrets: bool,
    force: bool,
    dry_run: bool,
) -> int:
    """Write what runs a policy on Kubernetes, as a folder of kustomize.

    One CronJob for each volume, one Deployment for the WAL of each PostgreSQL, and the rights that they need. Nothing
    is contacted. Secrets of the application are referred to; drtool's own are made from files in the folder's
    secrets/SECRET/KEY, which render never writes. Then `kubectl apply -k` is all it takes.
    """
    options = RenderOptions(image, existing_secrets=existing_secrets, force=force, dry_run=dry_run)
    result = run_render(invocation.policy_file(), directory, options)
    return invocation.say(answer(result, dry_run=dry_run))


def answer(result: RenderResult, *, dry_run: bool) -> Answer:
    """Return what render says: which files, and which a person must add."""
    would = "would have" if dry_run else "has"
    files = len(result.written) + len(result.unchanged)
    changes = [
        f"{len(names)} {word}"
        for word, names in (("written", result.written), ("removed", result.removed))
        if names
    ]
    states = [
        *((name, "written") for name in result.written),
        *((name, "as it was") for name in result.unchanged),
        *((name, "removed") for name in result.removed),
        *((name, "MISSING: put it there") for name in result.secrets),
    ]
    return Answer(
        command="render",
        verdict=f"render: {result.policy} {would} {counted(files, 'file')} in {result.directory}: "
        f"{', '.join(changes) or 'all as they were'}",
        advice=_advice(result, dry_run=dry_run),
        facts={"render": result, "dry_run": dry_run},
        lines=[Table(("FILE", "STATE"), states), *(f"note: {note}" for note in result.notes)],
    )


def _advice(result: RenderResult, *, dry_run: bool) -> str:
    if dry_run:
        return "Nothing was written; run it without --dry-run."
    if result.secrets:
        return f"Put the missing files there, then apply it: kubectl apply -k {result.directory}"
    return f"Apply it: kubectl apply -k {result.directory}"
