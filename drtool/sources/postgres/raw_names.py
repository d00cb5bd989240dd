"""Names of databases as the bytes that they are: of a server in SQL_ASCII, or of a database in another encoding.

psycopg takes a name only as text that it makes UTF-8 of, and the server compares bytes.
"""

import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import TupleRow


class AnyText(Loader):
    """Text as text. Names in SQL_ASCII, or of a database with another encoding, may be any bytes: shown by number."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "backslashreplace")


def with_dbname(info: str, name: bytes) -> bytes:
    """Return a connection string that names a database, too."""
    quoted = name.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
    return info.encode() + b" dbname='" + quoted + b"'"


def open_raw(info: bytes) -> psycopg.Connection[TupleRow]:
    """Return a connection in autocommit; info says how long it may take. Raises psycopg.OperationalError."""
    found = pq.PGconn.connect(info)
    if found.status != pq.ConnStatus.OK:
        said = found.get_error_message()
        found.finish()
        raise psycopg.OperationalError(said)
    found.nonblocking = 1  # as psycopg wants it
    connection = psycopg.Connection(found)
    connection.autocommit = True
    return connection
