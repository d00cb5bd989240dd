"""Why a plan cannot be: one reason, about one thing, with what to do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """message goes on where about ends; hint is a sentence. Neither holds a byte of a Secret."""

    about: str
    message: str
    hint: str
