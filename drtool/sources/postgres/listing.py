"""One column of a query, as long as it may be: read through a cursor of the server, a thousand rows at a time."""

import time
from collections.abc import Iterator
from typing import Final

import psycopg

from drtool.errors import DrtoolError, NotProven, SourceUnavailable
from drtool.sources.postgres.connection import PostgresSettings, connect
from drtool.sources.postgres.faults import command_fault
from drtool.sources.postgres.opening import as_bytes

_ROWS: Final = 1_000
_CANCELLED: Final = "57014"
_DOING: Final = "the query"
# The server keeps its own time for each fetch; what is done between two fetches is no idling.
_LIMITS: Final = b"""
    select set_config('statement_timeout', %s, false), set_config('idle_in_transaction_session_timeout', '0', false)"""


def listed(settings: PostgresSettings, sql: str, limit_s: float) -> Iterator[bytes]:
    """Yield the one column of a query in UTF-8, without what is null or empty; bytea as it is. Runs read-only.

    Raises NotProven where it does not end in time, SourceUnavailable for what the server refuses, and for a query of
    more columns than one.
    """
    end = time.monotonic() + limit_s
    with connect(settings) as connection:
        connection.read_only = True
        as_bytes(connection)
        try:
            connection.execute(_LIMITS, [f"{limit_s * 1000:.0f}"])
            with connection.transaction(), connection.cursor("drtool") as cursor:
                cursor.itersize = _ROWS
                cursor.execute(sql.encode())
                _refuse_more(len(cursor.description or ()))
                for row in cursor:
                    if time.monotonic() > end:
                        raise _late(limit_s)
                    if row[0] is not None and (found := _bytes(row[0])):
                        yield found
        except psycopg.Error as fault:
            raise _told(settings.who, fault, limit_s) from fault


def _refuse_more(columns: int) -> None:
    if columns != 1:
        raise SourceUnavailable(f"the query gives {columns} columns, not one", hint="Select the paths alone.")


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def _late(limit_s: float) -> NotProven:
    return NotProven(
        f"the query did not end in {limit_s:.0f} s", hint="Give it a longer time_limit, or an index."
    )


def _told(who: str, fault: psycopg.Error, limit_s: float) -> DrtoolError:
    if fault.sqlstate == _CANCELLED:
        return _late(limit_s)
    if fault.sqlstate is None:
        return command_fault(who, _DOING, None, str(fault))
    said = str(fault).strip().split("\n", 1)[0]
    hint = "Correct the query, or grant its role what it reads."
    return SourceUnavailable(f"PostgreSQL at {who} refuses {_DOING}: {said} ({fault.sqlstate})", hint=hint)
