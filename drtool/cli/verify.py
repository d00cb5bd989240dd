"""`drtool verify`: read the repository back and prove it."""

import re
from math import ceil
from typing import Any, Final, Literal

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import DRY_RUN, KEYS, PLACE, Invocation, common
from drtool.cli.output import Answer
from drtool.cli.units import counted, rate, took
from drtool.errors import Corrupt, UsageError
from drtool.operations.results import VerifyResult
from drtool.operations.verify import run_verify
from drtool.policy.sizes import size

_WHOLE: Final = 100


class Share(click.ParamType[float]):
    """A share in percent, 5% or 5, to a number above 0 and up to 1."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share, or fail."""
        if isinstance(value, float):
            return value
        percent = float(value.rstrip("%")) if re.fullmatch(r"\d+(\.\d+)?%?", value) else 0.0
        if not 0 < percent <= _WHOLE:
            self.fail(f"{value!r} is no share above 0% and up to 100%", param, ctx)
        return percent / _WHOLE


@click.command("verify", epilog=exit_codes(4, *STORE))
@click.option(
    "--level",
    metavar="[L0|L1|L2]",  # click would show them in lower case
    type=click.Choice(["L0", "L1", "L2"], case_sensitive=False),
    default="L1",
    show_default=True,
    help="L0: names and references; L1: every object's SHA-256; L2: decrypt, decompress, compare ids.",
)
@click.option(
    "--share",
    type=Share(),
    default="100%",
    show_default=True,
    help="How much of it L1 and L2 read, as in 5%: other objects each day, all of them in turn.",
)
@DRY_RUN
@common(PLACE, KEYS)
def command(invocation: Invocation, level: Literal["L0", "L1", "L2"], share: float, *, dry_run: bool) -> int:
    """Read the repository back and prove it.

    Each level includes those before it; L2 needs the recovery key. Ends with 4 when anything is wrong, and names
    every object that is. A dry run reads all the same, but keeps no record for `drtool status`.
    """
    if level == "L0" and share < 1:
        raise UsageError(
            "--share does nothing at L0, which reads all names and references",
            hint="Leave it out, or give --level L1 or L2.",
        )
    result = run_verify(invocation.session(), level, share=share, dry_run=dry_run)
    return invocation.say(answer(result, dry_run=dry_run))


def answer(result: VerifyResult, *, dry_run: bool = False) -> Answer:
    """Return what a verification says."""
    looked = f"{counted(result.objects, 'object')}, {size(result.bytes)}, {counted(result.points, 'point')}"
    remarks = [] if result.unrecorded is None else [f"note: this is not recorded: {result.unrecorded}"]
    return Answer(
        command="verify",
        verdict=f"verify {result.level}: {_verdict(result)}",
        advice=_advice(result),
        facts={"verification": result, "dry_run": dry_run},
        lines=[
            *(f"{fault.name}: {fault.message}" for fault in result.faults),
            *(
                f"{each.name} can never be restored, and nobody called it a point: {each.message}"
                for each in result.unfinished
            ),
            f"read {looked} in {took(result.seconds)}, {rate(result.bytes, result.seconds)}",
            *remarks,
        ],
        exit_code=Corrupt.exit_code if result.faults else 0,
    )


def _verdict(result: VerifyResult) -> str:
    if result.faults:
        wrong = counted(len(result.faults), "object")
        return f"{wrong} of {result.objects} {'is' if len(result.faults) == 1 else 'are'} wrong"
    if result.share < 1:
        return f"all names, and today's {result.share * _WHOLE:g} % of the objects, are as they were written"
    return f"all is as it was written: {counted(result.objects, 'object')}, {counted(result.points, 'point')}"


def _advice(result: VerifyResult) -> str:
    if result.faults:
        return (
            "Keep the store as it is; take a new backup now, and restore only points that need none of these."
        )
    if result.share < 1:
        return (
            f"Run it daily with the same share: after {counted(ceil(1 / result.share), 'day')} all is read."
        )
    return "Nothing to do; only a restore proves more."
