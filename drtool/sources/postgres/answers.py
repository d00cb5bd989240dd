"""The answers to a replication command whose COPY is large: read from the socket itself where it is not encrypted.

psycopg holds the GIL while libpq reads and copies, message by message: nearly half of all the time in a backup that
anybody held it. Here the system writes into a buffer while other threads work, and chunks are copied from there, once.
"""

import os
import socket
from typing import Protocol

from psycopg import pq

from drtool.sources.postgres.connection import Replication
from drtool.sources.postgres.messages import (
    LostSync,
    Messages,
    begins_answer,
    column_count,
    columns_of,
    fields_of,
)
from drtool.sources.postgres.results import Result, Rows

_HEAD_SIZE = 5

_COPY_DATA, _COPY_DONE, _COPY_OUT = b"dcH"
_ROW_DESCRIPTION, _DATA_ROW, _COMMAND_COMPLETE, _READY = b"TDCZ"
_ERROR, _NOTICE, _STATUS, _NOTIFICATION = b"ENSA"


class Answers(Protocol):
    """What answers a command: results, between them a COPY. A Replication does, through libpq."""

    def result(self) -> Result | None:
        """Wait for the next result and return it, None after the last. Raises what the server refuses."""
        ...

    def copy_data(self) -> memoryview | None:
        """Wait for the next message of a COPY; None after the last: `result` then tells how it ended."""
        ...


def ask(replication: Replication, command: str) -> Answers:
    """Send command, and return who reads its answers: to their end, or nothing else goes over this connection.

    libpq sends. It has read all that came before, unless a message that nobody asked for came in parts: then what the
    socket holds is no beginning of an answer, just as where GSSAPI encrypts, and libpq goes on.
    """
    replication.send(command)
    if replication.is_encrypted:
        return replication
    replication.wait_readable()
    return PlainAnswers(replication) if begins_answer(_peek(replication.fileno())) else replication


def _peek(descriptor: int) -> bytes:
    """Return the first bytes that the socket holds, and leave them there; none where the connection is lost."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        try:
            return same.recv(_HEAD_SIZE, socket.MSG_PEEK)
        except OSError:  # libpq reads it once more, and says it
            return b""


class PlainAnswers:
    """Reads past libpq, with the deadline of the replication, its notices, and the same errors."""

    def __init__(self, replication: Replication) -> None:
        self._replication = replication
        self._messages = Messages(self._receive)
        self._ahead: tuple[int, memoryview] | None = None  # what came where a COPY should have gone on
        self._is_over = False

    def copy_data(self) -> memoryview | None:
        kind, body = self._next()
        while kind == _COPY_DATA and not body:  # libpq leaves out such as these, too
            kind, body = self._next()
        if kind == _COPY_DATA:
            return body
        if kind != _COPY_DONE:
            self._ahead = kind, body
        return None

    def result(self) -> Result | None:
        try:
            return self._result()
        except LostSync as cause:
            self._replication.raise_lost(cause)

    def _result(self) -> Result | None:
        kind, body = self._next()
        if kind == _ROW_DESCRIPTION:
            return self._rows(column_count(body))
        if kind == _COMMAND_COMPLETE:
            return Rows(pq.ExecStatus.COMMAND_OK)
        if kind == _COPY_OUT:
            return Rows(pq.ExecStatus.COPY_OUT)
        if kind == _READY:
            return None
        raise self._unexpected(kind, body)

    def _rows(self, columns: int) -> Rows:
        """Return the rows that follow their description, up to the end of their command."""
        found = Rows(pq.ExecStatus.TUPLES_OK, columns)
        while (message := self._next())[0] == _DATA_ROW:
            row = columns_of(message[1])
            if len(row) != columns:
                raise LostSync(f"a row has {len(row)} columns, not {columns}")
            found.rows.append(row)
        if message[0] != _COMMAND_COMPLETE:
            raise self._unexpected(*message)
        return found

    def _next(self) -> tuple[int, memoryview]:
        """Return the next message that answers; keep notices on the way. After the last one nothing is waited for."""
        if self._is_over:
            return _READY, memoryview(b"")
        message, self._ahead = self._ahead, None
        while message is None or message[0] in (_NOTICE, _STATUS, _NOTIFICATION):
            if message is not None and message[0] == _NOTICE:
                self._keep_notice(message[1])
            try:
                message = self._messages.take()
            except (LostSync, EOFError) as cause:
                self._replication.raise_lost(cause)
        self._is_over = message[0] == _READY
        return message

    def _receive(self, room: memoryview) -> int:
        while True:
            try:
                return os.readv(self._replication.fileno(), [room])
            except BlockingIOError:  # more is most often here already: the first look waits for nothing
                self._replication.wait_readable()
            except ConnectionResetError:  # an end like any other
                return 0
            except OSError as cause:
                said = f"could not receive data from server: {cause.strerror}"
                self._replication.raise_lost(OSError(said))

    def _keep_notice(self, body: memoryview) -> None:
        fields = fields_of(body)
        self._replication.keep_notice(fields.get("V"), fields.get("M"))

    def _unexpected(self, kind: int, body: memoryview) -> Exception:
        if kind != _ERROR:
            return LostSync(f"got message type {chr(kind)!r} where it answers nothing")
        fields = fields_of(body)
        return self._replication.refusal(fields.get("C"), fields.get("M", ""))
