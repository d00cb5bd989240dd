"""Tables that fit the terminal: nothing is cut; cells wrap, columns that matter less are left out, and that is said.

Where the width is nobody's, as in a pipe, every row is one line with all that there is.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import click

from drtool.cli.units import printable

_GAP: Final = "  "
_NARROW: Final = 12  # a cell up to this width is never wrapped: 1023 MiB/s, 2 min 30 s
_READABLE: Final = 20  # a longer one is wrapped to less only where no column can be left out any more


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header, in columns. spare names those that a narrow terminal does without, the first to go first."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    spare: Sequence[str] = ()

    def lines(self, width: int | None = None) -> list[str]:
        """Return the table below an empty line, in width columns where that can be; nothing without rows."""
        if not self.rows:
            return []
        left_out: list[str] = []
        for name in self.spare:
            if width is None or self._readable_width(left_out) <= width:
                break
            left_out.append(name)
        columns = self._columns(left_out)
        widths = _fit(columns, width)
        header, *rows = (_row(cells, widths) for cells in zip(*columns, strict=True))
        lines = [
            "",
            *(click.style(line, bold=True) for line in header),
            *(line for row in rows for line in row),
        ]
        if left_out:
            lines.append(f"(left out for want of width: {', '.join(left_out)}; --json has them)")
        return lines

    def _columns(self, left_out: Iterable[str]) -> list[list[str]]:
        """Return the columns that stay, each with its header."""
        pairs = zip(self.header, zip(*self.rows, strict=True), strict=True)
        return [[name, *map(printable, cells)] for name, cells in pairs if name not in left_out]

    def _readable_width(self, left_out: Iterable[str]) -> int:
        columns = self._columns(left_out)
        widths = (max(_least(column), min(_READABLE, max(map(len, column)))) for column in columns)
        return sum(widths) + len(_GAP) * (len(columns) - 1)


def _least(column: Iterable[str]) -> int:
    """Return how narrow a column can be: words stay whole, and so do short cells."""
    return max(len(word) for cell in column for word in ([cell] if len(cell) <= _NARROW else cell.split()))


def _fit(columns: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """Return a width for each column: the widest give way until all fit, or none can any more."""
    widths = [max(map(len, column)) for column in columns]
    least = [_least(column) for column in columns]
    room = None if width is None else width - len(_GAP) * (len(columns) - 1)
    while room is not None and sum(widths) > room:
        wide = [place for place, each in enumerate(widths) if each > least[place]]
        if not wide:
            break
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return a row, in as many lines as its longest cell takes."""
    return [
        _GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
        for parts in zip_longest(*map(_wrap, cells, widths), fillvalue="")
    ]


def _wrap(cell: str, width: int) -> Iterator[str]:
    if len(cell) <= width:
        yield cell
    else:
        yield from textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False)
