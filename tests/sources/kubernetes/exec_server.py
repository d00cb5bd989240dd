"""An API server of the tests that lets commands be run: it upgrades to a WebSocket, and sends what it was given."""

import socketserver
import struct
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


@dataclass
class ExecServer:
    """What the next commands are answered: pieces, each with its channel; or a refusal. asked are their targets."""

    pieces: Sequence[bytes] = ()
    refusal: tuple[int, bytes] | None = None
    asked: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    hang: threading.Event = field(default_factory=threading.Event)  # set: hang up behind the pieces
    url: str = ""

    def answer(self, request: socketserver.StreamRequestHandler) -> None:
        target = request.rfile.readline().decode().split()[1]
        headers = {}
        while line := request.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if target == "/readyz":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            return
        self.asked.append(target)
        self.authorizations.append(headers.get("authorization", ""))
        if self.refusal:
            code, body = self.refusal
            request.wfile.write(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%b" % (code, len(body), body))
            return
        accept = b64encode(sha1((headers["sec-websocket-key"] + _MAGIC).encode()).digest())
        request.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        for piece in self.pieces:
            request.wfile.write(_frame(piece))
        if not self.hang.is_set():
            request.rfile.read(1)  # until the client hangs up


def _frame(piece: bytes) -> bytes:
    """Return a binary frame, unmasked as a server's are."""
    return b"\x82\x7f" + struct.pack(">Q", len(piece)) + piece


@contextmanager
def exec_server(**told: Any) -> Iterator[ExecServer]:
    """Serve on this machine until the context is left."""
    served = ExecServer(**told)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            served.answer(self)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield served
        server.shutdown()
