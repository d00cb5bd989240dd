"""Connections to PostgreSQL: one speaks SQL, the other the replication protocol through psycopg.pq.

Both leave in drtool's own errors. A role with nothing but LOGIN and REPLICATION is enough.
"""

import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from drtool.errors import Refused, SourceUnavailable, TemporaryFailure
from drtool.sources.postgres.faults import command_fault, connection_fault
from drtool.sources.postgres.opening import neutral_parameters, pin_session
from drtool.sources.postgres.results import Row, parse_size, rows_of
from drtool.sources.postgres.wal import parse_lsn

APPLICATION_NAME = "drtool"  # what synchronous_standby_names would match
OLDEST_VERSION = 150000  # BASE_BACKUP with one typed COPY stream came with 15
END_OF_REFUSAL_S = 5  # it comes with the refusal


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """How to reach one PostgreSQL instance. password is asked for each connection, so that it may rotate."""

    host: str
    port: int = 5432
    user: str = "postgres"
    password: Callable[[], str] | None = field(default=None, repr=False)
    dbname: str = "postgres"
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    connect_timeout_s: int = 10

    @property
    def who(self) -> str:
        """Return user@host:port, for messages."""
        return f"{self.user}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Identity:
    """What IDENTIFY_SYSTEM and the connection tell: which instance, where its WAL is. Sizes are in bytes."""

    system_identifier: int
    timeline: int
    flush_lsn: int
    server_version: int
    wal_segment_size: int

    @property
    def major(self) -> int:
        return self.server_version // 10000


def connect(settings: PostgresSettings, dbname: str | None = None) -> psycopg.Connection[TupleRow]:
    """Return an SQL connection in autocommit. Raises SourceUnavailable, TemporaryFailure or Refused."""
    connection = _open(settings, dbname or settings.dbname)
    try:
        pin_session(connection)
    except psycopg.Error as cause:
        connection.close()
        raise command_fault(settings.who, "set_config", cause.sqlstate, str(cause)) from cause
    return connection


def _open(
    settings: PostgresSettings, dbname: str, *, replication: bool = False
) -> psycopg.Connection[TupleRow]:
    parameters: dict[str, Any] = neutral_parameters(replication=replication)
    parameters |= {
        "host": settings.host,
        "port": settings.port,
        "user": settings.user,
        "password": settings.password() if settings.password else None,
        "dbname": dbname,
        "sslmode": settings.sslmode,
        "sslrootcert": settings.sslrootcert,
        "connect_timeout": settings.connect_timeout_s,
        "application_name": APPLICATION_NAME,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
    if replication:
        parameters["replication"] = "true"
    conninfo = make_conninfo(**parameters)
    try:
        connection = psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as cause:
        raise connection_fault(settings.who, settings.user, str(cause)) from cause
    version = connection.info.server_version
    if version < OLDEST_VERSION:
        connection.close()
        raise Refused(
            f"PostgreSQL at {settings.who} is version {version // 10000}; drtool needs 15 or later",
            hint="Upgrade the server: 14 and older lack the backup protocol that drtool speaks.",
        )
    return connection


class Replication:
    """A replication connection: commands with results, and COPY streams read without holding the GIL.

    Not safe for several threads at once.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._connection = _open(settings, "replication", replication=True)
        self._connection.add_notice_handler(self._keep_notice)
        self._pgconn = self._connection.pgconn
        self._readable = select.poll()
        self._readable.register(self._pgconn.socket, select.POLLIN)
        self._command = ""
        self._deadline: float | None = None
        self.notices: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def hurry(self, seconds: float) -> None:
        """Wait for the server no longer than so many seconds from now on; then TemporaryFailure is raised."""
        self._deadline = time.monotonic() + seconds

    def wait_readable(self) -> None:
        """Wait until the socket holds something, an end too. Raises TemporaryFailure when it was to hurry."""
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic()) * 1000
        if not self._readable.poll(left):
            raise TemporaryFailure(
                f"PostgreSQL at {self._settings.who} did not end the stream",
                hint="It hangs, or the network does; what was acknowledged stands. Look at the server.",
            )

    def _keep_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        self.keep_notice(notice.severity_nonlocalized, notice.message_primary)

    def keep_notice(self, severity: str | None, message: str | None) -> None:
        """Keep what the server says on the way, if it is a warning; severity is in English."""
        if severity == "WARNING":
            self.notices.append(message or "")

    def identify(self) -> Identity:
        """Return which instance this is, and how far its WAL is flushed. Raises if a pooler is in the way."""
        try:
            system, timeline, lsn, *_ = self.query("IDENTIFY_SYSTEM")[0]
        except SourceUnavailable as cause:
            raise SourceUnavailable(
                f"what answers at {self._settings.who} does not speak replication: {cause.message}",
                hint="A pooler may stand between: name the PostgreSQL server itself as host.",
            ) from cause
        return Identity(
            system_identifier=int(system or 0),
            timeline=int(timeline or 0),
            flush_lsn=parse_lsn(lsn or ""),
            server_version=self._pgconn.server_version,
            wal_segment_size=parse_size(self.show("wal_segment_size")),
        )

    def timeline_history(self, timeline: int) -> bytes:
        """Return the content of a timeline's history file. Raises SourceUnavailable if the server lacks it."""
        self.send(f"TIMELINE_HISTORY {timeline}")
        content = b""
        while (result := self.result()) is not None:
            if result.status == pq.ExecStatus.TUPLES_OK:
                content = result.get_value(0, 1) or b""
        return content

    def show(self, parameter: str) -> str:
        """Return a run-time parameter as SHOW prints it."""
        return self.query(f"SHOW {parameter}")[0][0] or ""

    def query(self, command: str) -> list[Row]:
        """Run a command to its end and return the rows of its first result, as text."""
        self.send(command)
        rows: list[Row] | None = None
        while (result := self.result()) is not None:
            rows = rows_of(result) if rows is None else rows
        return rows or []

    def send(self, command: str) -> None:
        """Send a command whose results are then taken by `result`."""
        self._command = " ".join(command.split(" ", 2)[:1])
        try:
            self._pgconn.send_query(command.encode())
            self._flush()
        except psycopg.OperationalError as cause:
            self.raise_lost(cause)

    def result(self) -> pq.abc.PGresult | None:
        """Wait for the next result and return it, None after the last. Raises what the server refuses."""
        try:
            while self._pgconn.is_busy():
                self.wait_readable()
                self._pgconn.consume_input()
            result = self._pgconn.get_result()
        except psycopg.OperationalError as cause:
            self.raise_lost(cause)
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            self._take_the_rest()
            raise self._refusal(result)
        return result

    def _take_the_rest(self) -> None:
        """Take what comes behind a refusal, which is its end: until then the next command cannot be sent."""
        with suppress(psycopg.OperationalError):  # a connection that is gone has no next command
            while self._pgconn.status == pq.ConnStatus.OK:
                while self._pgconn.is_busy():
                    if not self._readable.poll(END_OF_REFUSAL_S * 1000):
                        return
                    self._pgconn.consume_input()
                if self._pgconn.get_result() is None:
                    return

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS encrypts what goes over the socket. Of GSSAPI's encryption nothing is known."""
        return bool(self._pgconn.ssl_in_use)

    def fileno(self) -> int:
        """Return the socket, to wait for."""
        try:
            return self._pgconn.socket
        except psycopg.OperationalError as cause:
            self.raise_lost(cause)

    def copy_data(self) -> memoryview | None:
        """Wait for the next message of a COPY; None after the last: `result` then tells how it ended."""
        message, looked = self.take(), False
        while message is not None and not message:
            if looked:  # more is most often here already: the first look waits for nothing
                self.wait_readable()
            self.consume()
            message, looked = self.take(), True
        return message

    def take(self) -> memoryview | None:
        """Return the next message of a COPY that is here: empty if none is, None when the COPY has ended."""
        try:
            length, data = self._pgconn.get_copy_data(1)
        except psycopg.OperationalError as cause:
            self.raise_lost(cause)
        return None if length < 0 else data

    def consume(self) -> None:
        """Take in what the socket holds."""
        try:
            self._pgconn.consume_input()
        except psycopg.OperationalError as cause:
            self.raise_lost(cause)

    def put(self, message: bytes) -> None:
        """Send one message of a COPY to the server."""
        try:
            self._pgconn.put_copy_data(message)
            self._flush()
        except psycopg.OperationalError as cause:
            self.raise_lost(cause)

    def end_copy(self) -> None:
        """Say that nothing more is sent."""
        try:
            self._pgconn.put_copy_end()
            self._flush()
        except psycopg.OperationalError as cause:
            self.raise_lost(cause)

    def _flush(self) -> None:
        """Send all that libpq holds back; psycopg's connections do not block."""
        while self._pgconn.flush():
            select.select([], [self._pgconn.socket], [])

    def raise_lost(self, cause: Exception) -> NoReturn:
        raise command_fault(self._settings.who, self._command, None, str(cause)) from cause

    def _refusal(self, result: pq.abc.PGresult) -> Exception:
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        text = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
        return self.refusal(state.decode() if state else None, text.decode("utf-8", "replace"))

    def refusal(self, sqlstate: str | None, text: str) -> Exception:
        """Return the error for a command that the server refused with sqlstate, and these words."""
        return command_fault(self._settings.who, self._command, sqlstate, text)
