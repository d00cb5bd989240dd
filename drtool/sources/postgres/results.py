"""Results of a command and their rows, be they libpq's or read from the socket by us."""

from dataclasses import dataclass, field
from typing import Protocol

from psycopg import pq

Row = tuple[str | None, ...]


class Result(Protocol):
    """What of a result is looked at. One of libpq's is one."""

    @property
    def status(self) -> int: ...

    @property
    def nfields(self) -> int: ...

    @property
    def ntuples(self) -> int: ...

    def get_value(self, row: int, column: int, /) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Rows:
    """A result of our own."""

    status: pq.ExecStatus
    nfields: int = 0
    rows: list[list[bytes | None]] = field(default_factory=list)

    @property
    def ntuples(self) -> int:
        return len(self.rows)

    def get_value(self, row: int, column: int, /) -> bytes | None:
        return self.rows[row][column]


def rows_of(result: Result) -> list[Row]:
    """Return the rows of a result, as text."""
    return [
        tuple(
            None if (value := result.get_value(row, column)) is None else value.decode()
            for column in range(result.nfields)
        )
        for row in range(result.ntuples)
    ]


def parse_size(text: str) -> int:
    """Return bytes from what SHOW prints of a size: `16MB`, `1GB`."""
    units = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
    return int(text[:-2]) * units[text[-2:]]
