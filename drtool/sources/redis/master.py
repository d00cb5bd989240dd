"""One RDB, served as a replication master does: who sends REPLICAOF to a server has it take that, and nothing else.

Whatever history a replica asks to go on with, it gets the whole RDB, and behind it a PING a second, so that the link
stays up until it is told to leave. Redis: src/replication.c, syncWithMaster, readSyncBulkPayload.
"""

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from drtool.sources.base import STREAM_CHUNK

_LOOK_S: Final = 0.2  # how soon it ends once it is told to
_PING_EVERY: Final = 5  # looks
_PING: Final = b"*1\r\n$4\r\nPING\r\n"
_LONGEST: Final = 64 * 1024  # bytes of a command


class Master:
    """Serves an RDB to the one replica whose address is given. Use as a context; it ends with it.

    No password is asked for, for a replica's own is not ours to know: who comes from elsewhere is turned away.
    """

    def __init__(self, rdb: Path, address: str, port: int, replica: str) -> None:
        self.replid = secrets.token_hex(20)
        self.offset = 1
        self.has_come = False
        self._rdb = rdb
        self._where = (address, port)
        self._replica = replica
        self._ending = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        self._listener = socket.create_server(self._where, family=family)
        self._listener.settimeout(_LOOK_S)
        self._thread = threading.Thread(target=self._serve, name="drtool-master")
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        """Serve one after the other: a replica whose link broke comes again."""
        while not self._ending.is_set():
            with suppress(OSError, ValueError):  # its link broke, or it speaks otherwise
                peer, where = self._listener.accept()
                with peer:
                    if where[0] == self._replica:
                        self.has_come = True
                        self._speak(peer)

    def _speak(self, peer: socket.socket) -> None:
        """Answer what a replica says until it leaves. Raises OSError."""
        is_filled, looks, said = False, 0, bytearray()
        peer.settimeout(_LOOK_S)
        while not self._ending.is_set():
            try:
                data = peer.recv(STREAM_CHUNK)
            except TimeoutError:
                data = None
            if data == b"" or len(said) > _LONGEST:
                return
            said += data or b""
            for words in _commands(said):
                if words[0] in (b"PSYNC", b"SYNC"):
                    self._fill(peer)
                    is_filled = True
                elif not is_filled:
                    self._send(peer, _answer(words))
            looks += data is None
            if is_filled and looks >= _PING_EVERY:
                looks = 0
                self._send(peer, _PING)
                self.offset += len(_PING)

    def _fill(self, peer: socket.socket) -> None:
        size = self._rdb.stat().st_size
        self._send(peer, b"+FULLRESYNC %b %d\r\n$%d\r\n" % (self.replid.encode(), self.offset, size))
        with self._rdb.open("rb") as file:
            while data := file.read(STREAM_CHUNK):
                self._send(peer, data)

    def _send(self, peer: socket.socket, data: bytes) -> None:
        """Send all of it, however long the replica takes. Raises TimeoutError once it is told to end."""
        view = memoryview(data)
        while view:
            try:
                view = view[peer.send(view) :]
            except TimeoutError:
                if self._ending.is_set():
                    raise


def _answer(words: list[bytes]) -> bytes:
    if words[0] == b"PING":
        return b"+PONG\r\n"
    return b"+OK\r\n" if words[0] in (b"AUTH", b"REPLCONF") else b"-ERR unknown command\r\n"


def _commands(said: bytearray) -> Iterator[list[bytes]]:
    """Take the whole commands from the front of said, and yield their words, the first in capitals."""
    while said:
        end = said.find(b"\n")
        if end < 0:
            return
        line = bytes(said[:end]).strip()
        if not line.startswith(b"*"):  # an empty line keeps the link alive; others send words in one
            del said[: end + 1]
            words = line.split()
        else:
            taken = _array(bytes(said), end + 1, int(line[1:]))
            if taken is None:
                return
            words, size = taken
            del said[:size]
        if words:
            yield [words[0].upper(), *words[1:]]


def _array(said: bytes, at: int, count: int) -> tuple[list[bytes], int] | None:
    """Return so many strings, and where they end; None where they have not all come."""
    words: list[bytes] = []
    for _ in range(count):
        end = said.find(b"\r\n", at)
        if end < 0:
            return None
        begin = end + 2
        at = begin + int(said[at + 1 : end]) + 2
        if at > len(said):
            return None
        words.append(said[begin : at - 2])
    return words, at
