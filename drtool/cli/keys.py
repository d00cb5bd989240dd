"""`drtool keys`: keys of one's own, a reader's bundle, grants, a role's S3 policy; prove that the key on paper fits."""

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from drtool.cli.enrol import enrol
from drtool.cli.exits import STORE, exit_codes
from drtool.cli.keyfiles import refuse_present, write_key_file
from drtool.cli.options import (
    AT,
    CHOICE,
    DRY_RUN,
    KEYS,
    PLACE,
    RECOVERY_KEY,
    Invocation,
    common,
    complete_volume,
)
from drtool.cli.output import Answer, say_aside, say_text
from drtool.cli.table import Table
from drtool.cli.units import counted, when
from drtool.cli.volumes import volumes
from drtool.errors import UsageError
from drtool.operations.grant import GrantRequest, GrantResult, new_runner, run_grant
from drtool.operations.key_files import read_key_file
from drtool.operations.keys import reader_bundle, run_prove
from drtool.operations.presign import presign
from drtool.operations.restore import RestoreRequest
from drtool.operations.results import KeyProof
from drtool.policy.durations import parse_duration
from drtool.policy.load import load_policy
from drtool.policy.sizes import size
from drtool.repository.access import ROLES, AccessRole, s3_policy
from drtool.repository.format.text import encode_key
from drtool.repository.kit import new_recovery_key, parse_runner_public
from drtool.repository.storage.open import bucket_of


@click.group("keys")
def command() -> None:
    """Make and prove keys, and say what each role may do in the bucket."""


command.add_command(enrol)
command.add_command(volumes)


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


@command.command("runner", epilog=exit_codes(5))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@DRY_RUN
@common(KEYS)
def runner(invocation: Invocation, file: Path, *, dry_run: bool) -> int:
    """Make the key pair of a runner, which restores one point by a grant.

    FILE gets the private half; the line that is printed is for `drtool keys grant --to`. With a bundle or the recovery
    key of a repository, the runner believes grants of that repository only: FILE then holds a line of trust too, and
    nothing else of theirs. Contacts nothing.
    """
    refuse_present(file)
    made = None if dry_run else new_runner(invocation.keys)
    verdict = f"keys runner: {file} would get a new key"
    advice = "Nothing was written, and no key was made; run it without --dry-run."
    if made is not None:
        write_key_file(file, made.text())
        verdict = f"keys runner: {made.public_text()}"
        advice = "Give that line to `drtool keys grant --to`; FILE stays where the restore is run."
        if made.trust is None:
            advice += " It trusts any repository: with --bundle FILE it would trust one."
    facts = {
        "runner": made and made.public_text(),
        "key_file": file,
        "trust": made and made.trust and encode_key("TRUST", made.trust),
        "dry_run": dry_run,
    }
    return invocation.say(Answer(command="keys-runner", verdict=verdict, advice=advice, facts=facts))


@command.command("grant", epilog=exit_codes(4, 5, 8, *STORE))
@click.argument("volume", shell_complete=complete_volume)
@AT
@click.option("--point", metavar="NAME", help="The point of this name or id, as `drtool points` tells it.")
@click.option("--to", required=True, metavar="LINE", help="The runner's public line: DRTOOL-RUNNER-….")
@click.option(
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The new file for the grant.",
)
@click.option(
    "--presign",
    metavar="TIME",
    help="Sign URLs too, good for so long, as 6h: so the runner needs no credentials.",
)
@click.option(
    "--urls-output",
    "urls_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The new file for the URLs: the runner's --repository urls:///FILE.",
)
@DRY_RUN
@common(PLACE, RECOVERY_KEY, CHOICE)
def grant(invocation: Invocation, output: Path, to: str, *, dry_run: bool, **given: Any) -> int:
    """Make a grant: what opens one point of a volume, and nothing else, for one runner.

    Chooses as `drtool restore` does, and tries every key. Who has the runner's key file then restores that point with
    `drtool restore --grant`, and what may get objects from the store. Takes the kit: the recovery key, and the
    operator's key that signs the grant.
    """
    point, urls_file, lasts = given.pop("point"), given.pop("urls_file"), _lasts(given.pop("presign"))
    if (lasts is None) != (urls_file is None):
        raise UsageError("--presign and --urls-output go together", hint="Give both, or neither.")
    if point is not None and given["at"] is not None:
        raise UsageError("--at and --point both choose a point", hint="Give one of them.")
    for file in (output, *([] if urls_file is None else [urls_file])):
        refuse_present(file)
    wanted = RestoreRequest(**{**given, "at": invocation.moment(given["at"])}, directory=output)
    session = invocation.session()
    made = run_grant(session, GrantRequest(wanted, parse_runner_public(to), point))
    files = {output: made.grant}
    if lasts is not None:
        where = invocation.where or session.need_policy().repository
        files[urls_file] = presign(where, made.objects, lasts, invocation.world)
    if not dry_run:
        for file, content in files.items():
            write_key_file(file, content)
    return invocation.say(grant_answer(made.result, files, invocation, dry_run=dry_run))


def _lasts(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as fault:
        raise UsageError(f"--presign {text} is no duration", hint="Write it as 6h or 90m.") from fault


def grant_answer(
    result: GrantResult, files: Mapping[Path, bytes], invocation: Invocation, *, dry_run: bool
) -> Answer:
    """Return what a grant says: which point, how much it opens, how large its files are. The first is the grant."""
    output = next(iter(files))
    verdict = f"keys grant: {result.volume} as of {when(result.moment, invocation.now)}"
    advice = (
        f"`drtool restore {result.volume} --to-dir DIR --grant {output} --runner-key-file FILE` takes it."
    )
    if dry_run:
        advice = "Nothing was written; run it without --dry-run."
    opens = (
        f"{counted(result.packs, 'pack')} and {counted(result.wal, 'object')} of WAL, {size(result.stored)}"
    )
    return Answer(
        command="keys-grant",
        verdict=f"{verdict}{' would be granted' if dry_run else f' is granted in {output}'}",
        advice=advice,
        facts={
            "grant": result,
            "files": {str(file): len(content) for file, content in files.items()},
            "dry_run": dry_run,
        },
        lines=[
            "",
            f"point  {result.point}",
            f"opens  {opens} in the store: whole packs, so also what other points share with this one",
            *(f"size   {size(len(content))} in {file}" for file, content in files.items()),
        ],
    )
