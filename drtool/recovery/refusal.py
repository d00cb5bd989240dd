"""Why a plan cannot be: one reason, about one thing, with what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from drtool.errors import Refused


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """message goes on where about ends; hint is a sentence. Neither holds a byte of a Secret."""

    about: str
    message: str
    hint: str


def refused(refusals: Sequence[Refusal]) -> Refused:
    """Return the error that says all reasons at once."""
    told = "; ".join(f"{each.about} {each.message}" for each in refusals)
    hints = " ".join(dict.fromkeys(each.hint for each in refusals))
    return Refused(told, hint=hints)
