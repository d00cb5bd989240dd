"""One START_REPLICATION: a thread owns the socket, answers the server in time, and hands WAL on in order.

However long the consumer stalls, the server hears from us: with the flush position of what is durable, which then
stands still. What was received and not yet taken is bounded; beyond that nothing more is read from the socket. A
server that wants to stop waits for its receivers, so a stall is given up before it holds up the server for long.
"""

import os
import select
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from psycopg import pq

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.postgres.connection import Replication
from drtool.sources.postgres.hearing import EPOCH, SETTLE_S, Hearing, ServerState
from drtool.sources.postgres.results import rows_of
from drtool.sources.postgres.wal import format_lsn, parse_lsn

__all__ = ["Piece", "ServerState", "WalStream"]

BUFFER_LIMIT = 32 << 20  # bytes received and not yet taken
LONGEST_SILENCE_S = 10.0  # between two status messages
STALL_LIMIT_S = 60.0  # full buffer: then the stream is left, and read again by the next run
ANSWER_LIMIT_S = 10.0  # the server wants to know what is durable: it may be stopping

DATA, KEEPALIVE, STATUS = b"wkr"
_DATA_HEADER = struct.Struct(">cQQq")  # kind, first byte, server's end, server's time
_KEEPALIVE = struct.Struct(">cQq?")  # kind, server's end, server's time, whether it wants an answer
_STATUS = struct.Struct(">cQQQq?")  # kind, written, flushed, applied, our time, whether we want an answer


@dataclass(frozen=True, slots=True)
class Piece:
    """WAL from start on, as one message brought it."""

    start: int
    data: memoryview


class WalStream:
    """WAL of one timeline from one LSN on. Enter it, take pieces, acknowledge, finish."""

    def __init__(self, replication: Replication, *, slot: str | None, lsn: int, timeline: int) -> None:
        """lsn is where the stream begins. The connection is this stream's alone until it is left.

        Without a slot it only looks: nothing that it acknowledges moves any.
        """
        self._replication = replication
        held = "" if slot is None else f'SLOT "{slot}" '
        self._command = f"START_REPLICATION {held}PHYSICAL {format_lsn(lsn)} TIMELINE {timeline}"
        self._received = lsn
        self._flushed = 0  # zero: nothing is claimed, and the slot stays where it is
        self._pieces: deque[Piece] = deque()
        self._buffered = 0
        self._changed = threading.Condition()
        self._closing = False
        self._ended = False
        self._failure: Exception | None = None
        self._full_since: float | None = None
        self._asked_since: float | None = None
        self._hearing = Hearing()
        self._next: tuple[int, int] | None = None
        self._told = 0  # the flush position of the last status
        self._status_due = 0.0
        self._silence_s = LONGEST_SILENCE_S
        self._thread = threading.Thread(target=self._run, name="drtool-wal", daemon=True)

    def __enter__(self) -> Self:
        timeout_ms = _milliseconds(self._replication.show("wal_sender_timeout"))
        if timeout_ms:
            self._silence_s = min(LONGEST_SILENCE_S, timeout_ms / 4000)
        self._hearing.is_standby = self._replication.show("in_hot_standby") == "on"
        self._replication.send(self._command)
        result = self._replication.result()
        if result is not None and result.status == pq.ExecStatus.COPY_BOTH:
            self._wake_end, self._wake = os.pipe()
            self._thread.start()
        elif result is not None:  # the timeline ends where we would begin
            self._next = _next_timeline(rows_of(result))
            self._take_end()
            self._ended = True
        return self

    def __exit__(self, *exc: object) -> None:
        """Let go, whatever state the stream is in; what was acknowledged stands."""
        if self._thread.ident is None:  # there was nothing to stream
            return
        self._closing = True
        self._wake_thread()
        self._thread.join()
        os.close(self._wake)
        os.close(self._wake_end)

    @property
    def state(self) -> ServerState | None:
        """What the server last said; None before its second word."""
        return self._hearing.state

    @property
    def answer_wanted(self) -> bool:
        """Whether the server asked what is durable: make what is here durable now, and acknowledge it."""
        return self._asked_since is not None

    @property
    def next_timeline(self) -> tuple[int, int] | None:
        """Once `ended`: the timeline that follows, and the LSN at which this one was left."""
        return self._next

    def take(self, timeout_s: float) -> Piece | None:
        """Return the next piece, None if none came within timeout_s or the stream has ended.

        Raises what ended the stream, if that was a failure.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._ended, timeout_s)
            if not self._pieces:
                if self._failure is not None:
                    raise self._failure
                return None
            piece = self._pieces.popleft()
            self._buffered -= len(piece.data)
            was_full, self._full_since = self._full_since, None
        if was_full is not None:
            self._wake_thread()
        return piece

    @property
    def ended(self) -> bool:
        """Whether the server ended the stream well and all of it was taken."""
        return self._ended and not self._pieces and self._failure is None

    def acknowledge(self, lsn: int) -> None:
        """Tell the server that everything before lsn is durable: it may drop that WAL."""
        self._flushed = lsn
        self._asked_since = None
        self._wake_thread()

    def finish(self) -> None:
        """End the stream in the protocol's way, after the last acknowledgement has been sent."""
        self._closing = True
        self._wake_thread()
        if self._thread.ident is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _wake_thread(self) -> None:
        if self._thread.ident is not None:
            os.write(self._wake, b"\0")

    def _run(self) -> None:
        try:
            self._send_status(want_answer=True)
            while not self._closing and self._read():
                pass
            if self._closing:
                self._send_status()
                self._replication.hurry(ANSWER_LIMIT_S)
                self._replication.end_copy()
                while self._replication.copy_data() is not None:
                    pass
            self._take_end()
        except Exception as failure:  # noqa: BLE001 -- whatever it is, it is the consumer's to raise
            self._failure = failure
            self._replication.close()  # the server must not wait for us while the consumer is elsewhere
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read(self) -> bool:
        """Take in one message, or wait for one; False once the server has ended the stream."""
        self._check_patience()
        is_due = time.monotonic() >= self._status_due
        if self._flushed != self._told or is_due:
            self._send_status(want_answer=is_due)  # an idle server says nothing of its own accord
        message = memoryview(b"") if self._full_since is not None else self._replication.take()
        if message is None:
            return False
        if not message:
            self._wait()
        elif message[0] == DATA:
            self._keep(message)
        elif message[0] == KEEPALIVE:
            self._answer(message)
        return True

    def _wait(self) -> None:
        """Wait for the server, for the consumer, or until the next status is due."""
        poll = select.poll()
        poll.register(self._wake_end, select.POLLIN)
        if self._full_since is None:
            poll.register(self._replication.fileno(), select.POLLIN)
        ready = {
            descriptor for descriptor, _ in poll.poll(max(0.0, self._status_due - time.monotonic()) * 1000)
        }
        if self._wake_end in ready:
            os.read(self._wake_end, 1024)
        if self._replication.fileno() in ready:
            self._replication.consume()

    def _keep(self, message: memoryview) -> None:
        _, start, end, moment = _DATA_HEADER.unpack_from(message)
        piece = Piece(start, message[_DATA_HEADER.size :])
        if start != self._received:
            raise SourceUnavailable(
                f"the server sent WAL from {format_lsn(start)} where {format_lsn(self._received)} was next",
                hint="Nothing beyond the hole was kept; run it again, and look into the server's log.",
            )
        self._received += len(piece.data)
        self._hearing.data(end, _utc(moment), time.monotonic())
        with self._changed:
            self._pieces.append(piece)
            self._buffered += len(piece.data)
            if self._buffered >= BUFFER_LIMIT:
                self._full_since = time.monotonic()
            self._changed.notify_all()

    def _answer(self, message: memoryview) -> None:
        _, end, moment, wants_answer = _KEEPALIVE.unpack_from(message)
        now = time.monotonic()
        self._hearing.keepalive(end, _utc(moment), now, is_answer=not wants_answer)
        if wants_answer:
            self._send_status()
        if self.state is None:
            self._status_due = min(self._status_due, now + SETTLE_S)
        if wants_answer and self._flushed < self._received and self._asked_since is None:
            self._asked_since = time.monotonic()
        with self._changed:
            self._changed.notify_all()

    def _send_status(self, *, want_answer: bool = False) -> None:
        now = time.monotonic()
        if want_answer:
            self._hearing.ask(now)
        self._told = self._flushed
        status = _STATUS.pack(bytes([STATUS]), self._received, self._told, 0, 0, want_answer)
        self._replication.put(status)
        self._status_due = now + self._silence_s

    def _check_patience(self) -> None:
        """Leave a server alone that waits for us while we wait for the store."""
        now = time.monotonic()
        full_s = now - self._full_since if self._full_since is not None else 0.0
        asked_s = now - self._asked_since if self._asked_since is not None else 0.0
        if full_s > STALL_LIMIT_S or asked_s > ANSWER_LIMIT_S:
            raise TemporaryFailure(
                f"WAL could not be made durable for {max(full_s, asked_s):.0f} s, so the stream was left",
                hint="The slot keeps what is missing; see whether the object store answers, and run it again.",
            )

    def _take_end(self) -> None:
        """Take the results after the COPY: a following timeline, or nothing more."""
        while (result := self._replication.result()) is not None:
            if result.status == pq.ExecStatus.COPY_IN:  # the server has ended its half
                self._replication.end_copy()
            elif result.status == pq.ExecStatus.TUPLES_OK:
                self._next = _next_timeline(rows_of(result))


def _next_timeline(rows: list[tuple[str | None, ...]]) -> tuple[int, int] | None:
    return (int(rows[0][0] or 0), parse_lsn(rows[0][1] or "")) if rows else None


def _milliseconds(text: str) -> int:
    """Return what SHOW prints of a duration: `1min`, `2s`, `500ms`, `0`."""
    units = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) * units.get(text.removeprefix(digits), 1)


def _utc(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
