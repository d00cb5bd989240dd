"""`drtool init`: the repository of a policy, its recovery kit, and the bundle of the writer."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.keyfiles import refuse_present, write_key_file
from drtool.cli.options import DRY_RUN, POLICY, Invocation, common
from drtool.cli.output import Answer, say_text
from drtool.cli.table import Table
from drtool.errors import UsageError
from drtool.operations.init import Recipients, run_init
from drtool.operations.results import InitResult
from drtool.repository.kit import parse_recipient

_PATH = click.Path(dir_okay=False, path_type=Path)
ADMIN = "admin"  # the end of the name of the admin sheet's file, so no recipient's name


@dataclass(frozen=True, slots=True)
class KeyStore:
    """Where the keys of a new repository go. Without a kit file the kits are shown once, on the terminal."""

    bundle: Path
    kits: dict[str, Path] | None
    admin_sheet: Path | None

    @property
    def files(self) -> list[Path]:
        """All files that will be written."""
        more = [*self.kits.values(), self.admin_sheet] if self.kits and self.admin_sheet else []
        return [self.bundle, *more]

    def keep(self, result: InitResult) -> None:
        """Write the files; show what has no file."""
        write_key_file(self.bundle, result.bundle)
        if self.kits is None or self.admin_sheet is None:
            for sheet in (*result.kit.values(), result.admin_sheet):
                say_text(sheet)
            return
        for name, path in self.kits.items():
            write_key_file(path, result.kit[name])
        write_key_file(self.admin_sheet, result.admin_sheet)


@click.command("init", epilog=exit_codes(*STORE))
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    metavar="NAME[=KEY]",
    help="Who can read the backups; KEY is a DRTOOL-RECIPIENT- line made by `drtool keys new`. Repeat it for more.",
)
@click.option(
    "--bundle", "bundle_file", type=_PATH, required=True, help="The new file for the writer's keys."
)
@click.option(
    "--kit-file",
    type=_PATH,
    help="The new file for the recovery kit (FILE.NAME for each named recipient), beside it FILE.admin; needed "
    "where there is no terminal.",
)
@DRY_RUN
@common(POLICY)
def command(
    invocation: Invocation,
    recipients: Sequence[str],
    bundle_file: Path,
    kit_file: Path | None,
    *,
    dry_run: bool,
) -> int:
    """Make the repository of a policy, and its recovery kit.

    The kit is shown once, or written to --kit-file: print it and keep it away from the cluster. The keys are
    kept before anything is stored, so that no repository exists whose keys nobody has.
    """
    if kit_file is None and not dry_run and (invocation.as_json or not sys.stdout.isatty()):
        raise UsageError(
            "there is no terminal to show the recovery kit on",
            hint="Give --kit-file FILE, and print that file.",
        )
    readers = parse_recipients(recipients)
    keys = key_store(readers, bundle_file, kit_file)
    for path in keys.files:
        refuse_present(path)

    def keep(result: InitResult) -> None:
        invocation.progress.close()
        keys.keep(result)

    result = run_init(invocation.policy_file(), readers, invocation.world, dry_run=dry_run, keep=keep)
    return invocation.say(answer(result, keys, dry_run=dry_run))


def parse_recipients(texts: Sequence[str]) -> Recipients:
    """Return names, with public keys where they are given; one recipient where texts are empty. Raises UsageError."""
    found: dict[str, bytes | None] = {}
    for text in texts or ("recovery-1",):
        name, sign, key = text.partition("=")
        if not re.fullmatch("[a-z0-9-]{1,25}", name) or name in (*found, ADMIN):
            raise UsageError(
                f"{name!r} cannot name a recipient",
                hint=f"Use 1 to 25 characters of a-z, 0-9 and -, each name once, and not {ADMIN}.",
            )
        found[name] = parse_recipient(key) if sign else None
    return list(found.items())


def key_store(recipients: Recipients, bundle: Path, kit_file: Path | None) -> KeyStore:
    """Return where the keys go: the kit to kit_file, or one for each of several recipients, their names behind it."""
    if kit_file is None:
        return KeyStore(bundle, None, None)
    names = [name for name, _ in recipients]
    kits = {names[0]: kit_file} if len(names) == 1 else {name: _beside(kit_file, name) for name in names}
    return KeyStore(bundle, kits, _beside(kit_file, ADMIN))


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def answer(result: InitResult, keys: KeyStore, *, dry_run: bool) -> Answer:
    """Return what init says. Neither the lines nor the facts hold a key."""
    verdict = f"init: {result.policy} has repository {result.repository[:8]} at {result.url}"
    advice = f"Keep the kit on paper, away from the cluster; then run `drtool backup --bundle {keys.bundle}`."
    if dry_run:
        verdict = f"init: {result.policy} would get a repository at {result.url}"
        advice = "Nothing was written, and the store was not probed; run it without --dry-run."
    rows = [(probe.name, "yes" if probe.ok else "NO", probe.detail) for probe in result.probes]
    return Answer(
        command="init",
        verdict=verdict,
        advice=advice,
        facts={"repository": result, "files": keys.files, "dry_run": dry_run},
        lines=[
            Table(("STORE", "HOLDS", "DETAIL"), rows),
            "",
            f"recipients  {', '.join(result.recipients)}",
            *(f"file        {path}" for path in keys.files),
        ],
    )
