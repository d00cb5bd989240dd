"""What a page says: a verdict, the figures that carry it, and sections, the most needed first. Plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that decides, against what was promised."""

    label: str
    value: str
    promised: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows under a header. bad are the numbers of those rows, from 0, that a reader must not miss."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    bad: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page. items are sentences; without items and rows it says nothing_said."""

    title: str
    items: Sequence[str] = ()
    grid: Grid | None = None
    nothing_said: str = "Nothing."


@dataclass(frozen=True, slots=True)
class Page:
    """One page. Every text in it is data: what draws the page shows it as it is, and obeys nothing of it."""

    title: str
    verdict: str
    advice: str
    tone: Tone
    figures: Sequence[Figure]
    sections: Sequence[Section]
