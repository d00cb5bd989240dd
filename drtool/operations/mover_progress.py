"""How far a mover is, as a line of its log: who waits for it outside of the cluster counts its bytes from there."""

import json
from dataclasses import dataclass
from typing import Final

_KEY: Final = "progress"


@dataclass(frozen=True, slots=True)
class Moved:
    """What a mover does, and how many bytes it has moved since it began, in all that it did."""

    doing: str
    size: int


def to_line(moved: Moved) -> str:
    """Return the line that says so."""
    return json.dumps({_KEY: {"doing": moved.doing, "size": moved.size}})


def from_line(line: str) -> Moved | None:
    """Return what a line says; None for any other line."""
    try:
        told = json.loads(line)[_KEY]
        return Moved(str(told["doing"]), int(told["size"]))
    except (ValueError, KeyError, TypeError):
        return None
