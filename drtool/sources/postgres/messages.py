"""Messages of PostgreSQL's protocol 3, cut out of what a connection receives: which bytes belong together, and no more.

PostgreSQL: protocol-message-formats. A message is its kind in one byte, a length in four that counts itself, a body.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final

LONGEST: Final = 16 * 1024 * 1024  # of a message; those of a base backup have 32 KiB and a few bytes
LONGEST_FIRST: Final = 64 * 1024  # of an answer's first message: columns, an error or a notice
FIRST: Final = b"TENS"

_BUFFER: Final = 256 * 1024  # of what is received at once: it stays in the processor's cache
_BUFFERS: Final = 4  # what a chunk is gathered from may lie in two, beside the one that is being filled
_HEAD: Final = struct.Struct(">BI")
_SHORT: Final = struct.Struct(">H")
_LONG: Final = struct.Struct(">i")


class LostSync(Exception):
    """What came is no message, or has not the shape of its kind."""

    def __init__(self, what: str) -> None:
        super().__init__(f"lost synchronization with server: {what}")


class Messages:
    """Takes messages out of a stream in any cut. A body is not copied: it is a view into what was received.

    No buffer is written again while somebody holds a view of it, so bodies may be kept as long as is liked.
    """

    def __init__(self, receive: Callable[[memoryview], int], size: int = _BUFFER) -> None:
        """Receive writes into a view what there is, waits for one byte at least, and returns how many; 0 at the end."""
        self._receive = receive
        self._size = size
        self._spare: list[bytearray] = []
        self._at = self._end = 0
        self._use(bytearray(size))

    def take(self) -> tuple[int, memoryview]:
        """Return kind and body of the next message. Raises EOFError if there is no whole one, and LostSync."""
        self._gather(_HEAD.size)
        kind, length = _HEAD.unpack_from(self._buffer, self._at)
        if not _LONG.size <= length <= LONGEST:
            raise LostSync(f"got message type {chr(kind)!r}, length {length}")
        self._gather(1 + length)
        begin = self._at + _HEAD.size
        self._at += 1 + length
        return kind, self._view[begin : self._at]

    def _gather(self, size: int) -> None:
        """Wait until size bytes are here, in one place."""
        if self._at + size > len(self._buffer):
            self._move(size)
        while self._end - self._at < size:
            received = self._receive(self._room[self._end :])
            if not received:
                raise EOFError("server closed the connection unexpectedly")
            self._end += received

    def _move(self, size: int) -> None:
        """Go on in another buffer, or at the beginning of this one if nobody looks into it."""
        rest = bytes(self._view[self._at : self._end])
        self._view.release()
        self._room.release()
        if len(self._buffer) == self._size:
            self._spare = [*self._spare[1 - _BUFFERS :], self._buffer]
        buffer = next(filter(_is_free, self._spare), None) if size <= self._size else None
        if buffer is None:
            buffer = bytearray(max(size, self._size))
        else:
            self._spare.remove(buffer)
        buffer[: len(rest)] = rest
        self._at, self._end = 0, len(rest)
        self._use(buffer)

    def _use(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._room = memoryview(buffer)
        self._view = self._room.toreadonly()


def _is_free(buffer: bytearray) -> bool:
    """Tell whether no view of buffer is left: as long as there is one, Python refuses to change its size."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


def begins_answer(head: bytes) -> bool:
    """Tell whether head, the first bytes of an answer, are those of a message that an answer may begin with."""
    if len(head) < _HEAD.size:
        return False
    kind, length = _HEAD.unpack_from(head)
    return kind in FIRST and _LONG.size <= length <= LONGEST_FIRST


def column_count(body: memoryview) -> int:
    """Return how many columns a RowDescription describes."""
    try:
        return int(_SHORT.unpack_from(body)[0])
    except struct.error as cause:
        raise LostSync("a description of rows is cut short") from cause


def columns_of(body: memoryview) -> list[bytes | None]:
    """Return the columns of a DataRow: a count, and for each a length, -1 for NULL, and that many bytes."""
    columns: list[bytes | None] = []
    at = _SHORT.size
    for _ in range(column_count(body)):
        if at + _LONG.size > len(body):
            raise LostSync("a row is cut short")
        [length] = _LONG.unpack_from(body, at)
        begin, at = at + _LONG.size, at + _LONG.size + max(length, 0)
        if length < -1 or at > len(body):
            raise LostSync(f"a column of a row has length {length}")
        columns.append(None if length < 0 else bytes(body[begin:at]))
    if at != len(body):
        raise LostSync("a row is longer than its columns")
    return columns


def fields_of(body: memoryview) -> dict[str, str]:
    """Return the fields of an ErrorResponse or NoticeResponse by their letters: C the SQLSTATE, M the message."""
    return dict(_fields(bytes(body)))


def _fields(body: bytes) -> Iterator[tuple[str, str]]:
    for field in body.split(b"\0"):
        if field:
            text = field.decode("utf-8", "replace")
            yield text[0], text[1:]
