"""`drtool backup`: capture volumes into the repository."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import DRY_RUN, KEYS, PLACE, Invocation, common, complete_volume
from drtool.cli.output import Answer, error_lines
from drtool.cli.table import Table
from drtool.cli.units import NONE, took, when
from drtool.errors import DrtoolError, PartialFailure
from drtool.operations.backup import run_backup
from drtool.operations.results import VolumeBackup
from drtool.policy.moments import to_second
from drtool.policy.sizes import size

_WHY: Final = {"not due": "", "would run": "it would be run because: "}


@click.command("backup", epilog=exit_codes(3, 4, 5, 6, *STORE))
@click.argument("volumes", nargs=-1, metavar="[VOLUME]...", shell_complete=complete_volume)
@click.option("--due", is_flag=True, help="Only what the policy says is due, judged by the repository.")
@DRY_RUN
@common(PLACE, KEYS)
def command(invocation: Invocation, volumes: tuple[str, ...], *, due: bool, dry_run: bool) -> int:
    """Back up the volumes of a policy.

    All of them, or the ones that are named. When only some fail, the rest is done and the exit code is 3; when
    all fail, it is that of their fault. With --dry-run the sources are asked all the same, and refuse what they would
    refuse; they are left as they are.
    """
    invocation.policy_file()
    results = run_backup(invocation.session(), volumes, due=due, dry_run=dry_run)
    return invocation.say(answer(results, invocation.now, dry_run=dry_run))


def answer(results: Sequence[VolumeBackup], now: datetime, *, dry_run: bool = False) -> Answer:
    """Return what a backup says. A dry run is no news, whatever it finds: it makes no Event."""
    counts = Counter[str](result.outcome for result in results)
    verdict = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no volume"
    code = exit_code(results)
    return Answer(
        command="backup",
        verdict=f"backup: {verdict}",
        advice=_advice(code, counts),
        facts={"volumes": results},
        lines=[_table(results, now), *_remarks(results)],
        exit_code=code,
        word="; ".join(_word(result) for result in results),
        is_news=not dry_run and any(result.outcome in ("done", "failed") for result in results),
    )


def _word(result: VolumeBackup) -> str:
    """Return what became of one volume, to be understood where only a line is shown."""
    if result.error is not None:
        return "; ".join(error_lines(result.error, result.volume))
    if result.outcome != "done" or result.moment is None:
        return f"{result.volume}: {result.reason}"
    stored = f"{size(result.stored)} stored of {size(result.read + result.reused)}"
    return ", ".join([f"{result.volume}: the point of {to_second(result.moment)}", stored, *result.notes])


def exit_code(results: Sequence[VolumeBackup]) -> int:
    """Return 0, 3 when some volumes failed, and when all did the code that they share, else 1."""
    failed = [result for result in results if result.outcome == "failed"]
    if not failed:
        return 0
    if len(failed) < len(results):
        return PartialFailure.exit_code
    codes = {result.error.exit_code if result.error else DrtoolError.exit_code for result in failed}
    return codes.pop() if len(codes) == 1 else DrtoolError.exit_code


def _advice(code: int, counts: Counter[str]) -> str:
    if code:
        return "See the errors below; earlier points are untouched."
    if counts["would run"]:
        return "Nothing was written; run it without --dry-run."
    return "`drtool points` lists what can be restored."


def _table(results: Sequence[VolumeBackup], now: datetime) -> Table:
    """Return a row for each volume; where no point was made there is nothing to measure."""
    if any(result.look for result in results):
        rows = [(result.volume, result.outcome, *_seen(result)) for result in results]
        return Table(("VOLUME", "OUTCOME", "SIZE", "SOURCE"), rows)
    if all(result.outcome != "done" for result in results):
        return Table(("VOLUME", "OUTCOME"), [(result.volume, result.outcome) for result in results])
    header = ("VOLUME", "OUTCOME", "MOMENT", "READ", "REUSED", "STORED", "TOOK", "POINT")
    return Table(header, [_row(result, now) for result in results], spare=("REUSED", "POINT", "READ"))


def _seen(result: VolumeBackup) -> tuple[str, str]:
    """Return the size and the name of the source that a dry run looked at."""
    if result.look is None:
        return NONE, NONE
    return NONE if result.look.size is None else size(result.look.size), result.look.what


def _row(result: VolumeBackup, now: datetime) -> tuple[str, ...]:
    if result.outcome != "done":
        return (result.volume, result.outcome, *[NONE] * 6)
    return (
        result.volume,
        result.outcome,
        when(result.moment, now),
        size(result.read),
        size(result.reused),
        size(result.stored),
        took(result.seconds),
        result.point.rpartition("-")[2][:8] if result.point else NONE,
    )


def _remarks(results: Sequence[VolumeBackup]) -> list[str]:
    lines: list[str] = []
    for result in results:
        if result.reason:
            why = _WHY.get(result.outcome, "it was run because: ")
            lines.append(f"{result.volume}: {why}{result.reason}")
        lines += [f"note: {result.volume}: {note}" for note in result.notes]
        if result.error:
            lines += error_lines(result.error, result.volume)
    return ["", *lines] if lines else []
