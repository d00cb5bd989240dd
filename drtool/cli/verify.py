"""`drtool verify`: read the repository back and prove it."""

import re
from typing import Any, Final, Literal

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import KEYS, PLACE, Invocation, common
from drtool.cli.output import Answer
from drtool.cli.units import rate, size, took
from drtool.errors import Corrupt
from drtool.operations.results import VerifyResult
from drtool.operations.verify import run_verify

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
    type=click.Choice(["L0", "L1", "L2"], case_sensitive=False),
    default="L1",
    show_default=True,
    help="L0: names and references; L1: every object's SHA-256; L2: decrypt, decompress, compare ids.",
)
@click.option("--share", type=Share(), default="100%", show_default=True, help="How much to read, as in 5%.")
@common(PLACE, KEYS)
def command(invocation: Invocation, level: Literal["L0", "L1", "L2"], share: float) -> int:
    """Read the repository back and prove it.

    L2 needs the recovery key. Ends with 4 when anything is wrong, and names every object that is.
    """
    return invocation.say(answer(run_verify(invocation.session(), level, share=share)))


def answer(result: VerifyResult) -> Answer:
    """Return what a verification says."""
    looked = f"{result.objects} objects, {size(result.bytes)}, {result.points} points"
    if result.faults:
        verdict = f"verify {result.level}: {len(result.faults)} of {result.objects} objects are wrong"
        advice = (
            "Keep the store as it is; take a new backup now, and restore only points that need none of these."
        )
    else:
        verdict = f"verify {result.level}: all is as it was written: {looked}"
        advice = "Nothing to do; only a restore proves more."
    return Answer(
        command="verify",
        verdict=verdict,
        advice=advice,
        facts={"verification": result},
        lines=[
            *(f"{fault.name}: {fault.message}" for fault in result.faults),
            f"read {looked} in {took(result.seconds)}, {rate(result.bytes, result.seconds)}",
        ],
        exit_code=Corrupt.exit_code if result.faults else 0,
    )
