"""`drtool keys enrol`: the writer of a cluster that was restored."""

from pathlib import Path

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.keyfiles import refuse_present, write_key_file
from drtool.cli.options import ADMIN_KEY, DRY_RUN, PLACE, RECOVERY_KEY, Invocation, common
from drtool.cli.output import Answer
from drtool.operations.enrol import EnrolResult, run_enrol
from drtool.operations.key_files import read_key_file
from drtool.repository.kit import parse_seed

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("enrol", epilog=exit_codes(4, 5, *STORE))
@ADMIN_KEY
@click.option(
    "--bundle", "bundle_file", type=_FILE, required=True, help="The new file for the new writer's keys."
)
@DRY_RUN
@common(PLACE, RECOVERY_KEY)
def enrol(invocation: Invocation, admin_key_file: Path, bundle_file: Path, *, dry_run: bool) -> int:
    """Enrol a new writer after a restore, and end the one before.

    The restored system writes with keys of its own; what the old one writes from now on does not count, should it
    still be alive. Takes the kit and the admin sheet, and credentials that may get snapshots and put the config.
    The bundle is kept before anything is stored. What a policy got later, given with --policy, is taken over too; for
    that alone there is `drtool keys volumes`, which leaves the writer as it is.
    """
    refuse_present(bundle_file)
    admin = parse_seed(read_key_file(admin_key_file), "ADMIN")
    result = run_enrol(
        invocation.session(),
        admin,
        lambda bundle: write_key_file(bundle_file, bundle.dump()),
        dry_run=dry_run,
    )
    return invocation.say(answer(result, bundle_file, dry_run=dry_run))


def answer(result: EnrolResult, file: Path, *, dry_run: bool) -> Answer:
    """Return what an enrolment says."""
    ended = ", ".join(result.ended) or "nobody"
    if dry_run:
        verdict = f"keys enrol: {result.writer} would write for {result.policy} in the place of {ended}"
        advice = "Nothing was written; run it without --dry-run."
    else:
        verdict = f"keys enrol: {result.writer} writes for {result.policy} now, in the place of {ended}"
        advice = (
            f"Give {file} to the restored system, and run `drtool backup` there: all of it is stored anew. "
            "Make the readers' bundles anew, too."
        )
    return Answer(
        command="keys-enrol",
        verdict=verdict,
        advice=advice,
        facts={"enrolment": result, "file": file, "dry_run": dry_run},
        lines=[
            "",
            *(f"epoch {each.epoch} of {each.volume}, {each.system}" for each in result.epochs),
            *(f"volume {name}, which the policy got later" for name in result.added),
        ],
    )
