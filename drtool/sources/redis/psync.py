"""An RDB over the replication protocol: the server forks and streams, and keeps no buffer for us.

Redis: src/replication.c, syncCommand, sendBulkToSlave, rdbPipeReadHandler.
"""

import time
from collections.abc import Callable, Iterator

from drtool.errors import SourceUnavailable
from drtool.sources.base import STREAM_CHUNK
from drtool.sources.redis.connection import Connection

MARK_SIZE = 40  # bytes; random hex digits that end a transfer of unknown length
HELD_BACK = MARK_SIZE + 24  # the mark, and newlines that servers before 7.0.6 send behind it


class Transfer:
    """One RDB on its way: its position in the replication history, then its bytes, once.

    A read that waits longer than read_timeout_s, or the whole longer than deadline_s, raises SourceUnavailable.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        read_timeout_s: float,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._read_timeout_s = read_timeout_s
        self._deadline = clock() + deadline_s
        self._clock = clock
        self._watch()
        # Without rdb-only the server would keep a replication buffer for us, and count us as a replica.
        connection.call("REPLCONF", "rdb-only", "1")
        connection.call("REPLCONF", "capa", "eof")
        connection.send("PSYNC", "?", "-1")
        answer = self._patient_line("PSYNC").split()
        if len(answer) != 3 or answer[0] != b"+FULLRESYNC":  # noqa: PLR2004 - the word, the id, the offset
            raise SourceUnavailable(
                f"redis at {connection.endpoint} does not answer PSYNC as a server does",
                hint="A proxy or a Sentinel listens there: give the address of the server itself.",
            )
        self.replid = answer[1].decode()
        self.offset = int(answer[2])

    def __iter__(self) -> Iterator[bytes]:
        """Yield the RDB in runs of up to 1 MiB, without the mark that ends it."""
        head = self._patient_line("PSYNC")
        if head.startswith(b"$EOF:") and len(head) == len(b"$EOF:") + MARK_SIZE:
            yield from self._until(head[5:])
        elif head.startswith(b"$") and head[1:].isdigit():
            yield from self._counted(int(head[1:]))
        else:
            raise SourceUnavailable(
                f"redis at {self._connection.endpoint} announced its RDB in no known way",
                hint="drtool knows Redis 6.2 and later, and Valkey.",
            )

    def _patient_line(self, command: str) -> bytes:
        """Return the next line that says something; a server that is still forking sends empty ones."""
        line = self._connection.line(self._watch)
        if line.startswith(b"-"):
            raise self._connection.refusal(line, command)
        return line

    def _counted(self, size: int) -> Iterator[bytes]:
        room = memoryview(bytearray(STREAM_CHUNK))
        while size:
            filled = self._fill(room, 0, min(size, len(room)))
            size -= filled
            yield bytes(room[:filled])

    def _until(self, mark: bytes) -> Iterator[bytes]:
        room = memoryview(bytearray(STREAM_CHUNK + HELD_BACK))
        held = 0
        while True:
            held += self._receive(room[held:])
            end = _before_mark(bytes(room[max(0, held - HELD_BACK) : held]), mark)
            if end is not None:
                yield bytes(room[: max(0, held - HELD_BACK) + end])
                return
            if held == len(room):
                yield bytes(room[:-HELD_BACK])
                room[:HELD_BACK] = room[-HELD_BACK:]
                held = HELD_BACK

    def _fill(self, room: memoryview, start: int, stop: int) -> int:
        while start < stop:
            start += self._receive(room[start:stop])
        return start

    def _receive(self, room: memoryview) -> int:
        self._watch()
        return self._connection.receive_into(room)

    def _watch(self) -> None:
        left = self._deadline - self._clock()
        if left <= 0:
            raise SourceUnavailable(
                f"redis at {self._connection.endpoint} did not finish its RDB in time",
                hint="Raise the deadline, or see in the server's log why saving is slow.",
            )
        self._connection.wait_at_most(min(left, self._read_timeout_s))


def _before_mark(tail: bytes, mark: bytes) -> int | None:
    """Return how many bytes of tail stand before the mark, if it ends there."""
    told = tail.rstrip(b"\n")
    return len(told) - MARK_SIZE if told.endswith(mark) else None
