"""`drtool keys`: make keys of one's own, a reader's bundle, a role's S3 policy; prove that the key on paper fits."""

import json
import sys
from pathlib import Path

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.keyfiles import refuse_present, write_key_file
from drtool.cli.options import DRY_RUN, KEYS, PLACE, RECOVERY_KEY, Invocation, common
from drtool.cli.output import Answer, say_aside, say_text
from drtool.cli.table import Table
from drtool.cli.units import counted
from drtool.operations.keys import reader_bundle, run_prove
from drtool.operations.results import KeyProof
from drtool.operations.session import read_key_file
from drtool.policy.load import load_policy
from drtool.repository.access import ROLES, AccessRole, s3_policy
from drtool.repository.kit import new_recovery_key
from drtool.repository.storage.open import bucket_of


@click.group("keys")
def command() -> None:
    """Make and prove keys, and say what each role may do in the bucket."""


@command.command("prove", epilog=exit_codes(4, 8, *STORE))
@DRY_RUN
@common(PLACE, RECOVERY_KEY)
def prove(invocation: Invocation, *, dry_run: bool) -> int:
    """Prove that a typed recovery key opens the backups.

    Asks for the kit's line, or reads standard input or --recovery-key-file, and reads one point of each volume
    with nothing but that. A dry run reads all the same, but does not record the proof.
    """
    file = invocation.keys.recovery
    typed = read_key_file(file) if file else _typed()
    result = run_prove(typed, invocation.policy, invocation.where, invocation.world, dry_run=dry_run)
    return invocation.say(answer(result, dry_run=dry_run))


@command.command("s3-policy", epilog=exit_codes())
@click.argument("role", type=click.Choice(ROLES))
@common(PLACE)
def s3_policy_of(invocation: Invocation, role: AccessRole) -> int:
    """Print what a role may do in the bucket, as the IAM policy that AWS and MinIO take.

    For the user or the access key of that role. Contacts nothing.
    """
    where = invocation.where or load_policy(invocation.policy_file()).repository
    say_text(json.dumps(s3_policy(role, *bucket_of(where.url)), indent=2))
    return 0


def _typed() -> str:
    """Return what is typed: the lines of a kit, up to an empty one; or all of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.read()
    say_aside(
        "Type the lines of the kit that begin with DRTOOL-RECOVERY- and DRTOOL-OPERATOR-, then an empty line:"
    )
    return "\n".join(iter(lambda: sys.stdin.readline().strip(), ""))


def answer(result: KeyProof, *, dry_run: bool = False) -> Answer:
    """Return what a proof says."""
    advice = "Put the paper back; prove it again within 180 days."
    if dry_run:
        advice = "Nothing was written, so `drtool status` does not know of it; run it without --dry-run."
    elif result.unrecorded is not None:
        advice = (
            f"Not recorded ({result.unrecorded}): type the DRTOOL-OPERATOR- line too, for `drtool status`."
        )
    return Answer(
        command="keys-prove",
        verdict=f"keys prove: {result.recipient} opens {', '.join(result.volumes)}",
        advice=advice,
        facts={"proof": result, "dry_run": dry_run},
        lines=[
            Table(("VOLUME", "POINT"), list(result.volumes.items())),
            "",
            f"the keys of {counted(result.runs, 'run')} were opened",
            *(f"{volume} has no point yet: nothing of it was read" for volume in result.empty),
        ],
    )


@command.command("reader", epilog=exit_codes(5, *STORE))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@DRY_RUN
@common(PLACE, KEYS)
def reader(invocation: Invocation, file: Path, *, dry_run: bool) -> int:
    """Make a reader's bundle: who holds it sees how the backups stand, from anywhere.

    Made from the writer's bundle or from the kit. `drtool status`, `points` and `verify` take it as --bundle. It
    reads no data, and signs nothing: FILE may lie on a laptop.
    """
    refuse_present(file)
    bundle = reader_bundle(invocation.session())
    if not dry_run:
        write_key_file(file, bundle.dump())
    return invocation.say(
        Answer(
            command="keys-reader",
            verdict=f"keys reader: {file} {'would get' if dry_run else 'has'} a reader's keys of {bundle.policy}",
            advice="Nothing was written; run it without --dry-run."
            if dry_run
            else f"From anywhere: `drtool status --repository URL --bundle {file}`.",
            facts={"file": file, "repository": bundle.repository.hex(), "dry_run": dry_run},
        )
    )


@command.command("new", epilog=exit_codes(5))
@click.option(
    "--seed-file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The new file for the private half: whoever holds it keeps it, on paper.",
)
@DRY_RUN
@common()
def new(invocation: Invocation, seed_file: Path, *, dry_run: bool) -> int:
    """Make a recovery key of one's own, for `drtool init --recipient NAME=KEY`.

    So who runs init never sees the private half. To restore, both are needed: the DRTOOL-SEED- line of this file
    and the DRTOOL-TRUST- line of the kit that init makes for that recipient.
    """
    refuse_present(seed_file)
    recipient: str | None = None
    verdict = f"keys new: {seed_file} would get a new key"
    advice = "Nothing was written, and no key was made; run it without --dry-run."
    if not dry_run:
        seed, recipient = new_recovery_key()
        write_key_file(seed_file, f"{seed}\n")
        verdict = f"keys new: {recipient}"
        advice = f"Give that line to who runs `drtool init`; print {seed_file} and keep it."
    facts = {"recipient": recipient, "seed_file": seed_file, "dry_run": dry_run}
    return invocation.say(Answer(command="keys-new", verdict=verdict, advice=advice, facts=facts))
