"""`drtool keys volumes`: the repository takes over what its policy got later."""

from pathlib import Path

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import ADMIN_KEY, DRY_RUN, KEYS, PLACE, Invocation, common
from drtool.cli.output import Answer
from drtool.operations.key_files import read_key_file
from drtool.operations.take_over import TakeOver, run_take_over
from drtool.repository.kit import parse_seed


@click.command("volumes", epilog=exit_codes(4, 5, *STORE))
@ADMIN_KEY
@DRY_RUN
@common(PLACE, KEYS)
def volumes(invocation: Invocation, admin_key_file: Path, *, dry_run: bool) -> int:
    """Have the repository take over volumes and limits that its policy got later.

    A repository knows the volumes of its policy as it was at `drtool init`, and how long a run of each may last.
    Every bundle goes on as it is. A volume that left the policy stays known, so that its points can be restored, and
    no limit gets shorter. Takes the policy, the kit and the admin sheet; and, with --repository, the credentials of
    the environment, where those that the policy names may not put the config.
    """
    admin = parse_seed(read_key_file(admin_key_file), "ADMIN")
    result = run_take_over(invocation.session(), admin, dry_run=dry_run)
    return invocation.say(answer(result, dry_run=dry_run))


def answer(result: TakeOver, *, dry_run: bool) -> Answer:
    """Return what came of it."""
    told = ", ".join([*result.added, *map(str, result.longer)])
    if not result.is_needed:
        verdict = f"keys volumes: the repository of {result.policy} has all that its policy has"
        advice = "There is nothing to do."
    elif dry_run:
        verdict = f"keys volumes: the repository of {result.policy} would take over {told}"
        advice = "Nothing was written; run it without --dry-run."
    else:
        verdict = f"keys volumes: the repository of {result.policy} has taken over {told}"
        advice = f"Run {_backups(result.added)}; on Kubernetes, apply what `drtool render` writes first."
    return Answer(
        command="keys-volumes",
        verdict=verdict,
        advice=advice,
        facts={"taken_over": result, "dry_run": dry_run},
        lines=[
            "",
            *(f"{name} is not in the policy any more; its points can be restored" for name in result.left),
            *(f"{each}: not taken over, for points that are there had longer" for each in result.shorter),
        ],
    )


def _backups(added: tuple[str, ...]) -> str:
    """Return the statement that backs up what is new."""
    return f"`{' '.join(['drtool backup', *added])}`"
