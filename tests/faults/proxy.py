"""An HTTP proxy in front of a real store that answers wrongly when it is told to.

with FaultProxy(server.endpoint) as proxy:
    proxy.inject(Answer(503, error("SlowDown")), times=2, when="PUT")
    ... a store whose endpoint is proxy.endpoint ...
"""

import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """Answer this instead of asking the store."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reset:
    """Reset the connection; done: only after the store has carried the request out."""

    done: bool = False


@dataclass(frozen=True)
class Truncate:
    """Give the store's answer, but end the connection after so many bytes of its body."""

    after: int


@dataclass(frozen=True)
class Stall:
    """Answer nothing for so many seconds, then reset."""

    seconds: float


Fault = Answer | Reset | Truncate | Stall


def error(code: str, message: str = "injected") -> bytes:
    """Return the XML of an S3 error."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


class FaultProxy:
    """Listens on a loopback port; requests keeps the methods and paths that came."""

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._faults: list[tuple[Fault, str]] = []
        self._lock = threading.Lock()
        self.requests: list[tuple[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.endpoint = f"http{'s' * (tls is not None)}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def inject(self, fault: Fault, *, times: int = 1, when: str = "") -> None:
        """Let the next requests whose method and path, "PUT /bucket/name", hold when meet fault, times over."""
        with self._lock:
            self._faults += [(fault, when)] * times

    @property
    def pending(self) -> int:
        """How many injected faults nobody has met yet."""
        return len(self._faults)

    def meet(self, method: str, path: str) -> Fault | None:
        """Note a request, and return the fault that it meets."""
        with self._lock:
            self.requests.append((method, path))
            for number, (fault, when) in enumerate(self._faults):
                if when in f"{method} {path}":
                    del self._faults[number]
                    return fault
        return None

    def forward(self, request: "_Handler", body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in ("expect", "connection"):  # the proxy has answered the first itself
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            headers = {
                name: value for name, value in answer.getheaders() if name.lower() != "transfer-encoding"
            }
            return Answer(answer.status, answer.read(), headers)
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: else each answer waits 40 ms for an ACK
    server: _Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.proxy.meet(self.command, self.path)
        match fault:
            case Answer():
                self._give(fault)
            case Reset(done=done):
                if done:
                    self.server.proxy.forward(self, body)
                self._reset()
            case Stall(seconds=seconds):
                time.sleep(seconds)
                self._reset()
            case Truncate(after=after):
                self._give(self.server.proxy.forward(self, body), after)
                self.close_connection = True
            case None:
                self._give(self.server.proxy.forward(self, body))

    do_PUT = do_HEAD = do_DELETE = do_POST = do_GET  # noqa: N815

    def _give(self, answer: Answer, limit: int | None = None) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else str(len(answer.body))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:limit])

    def _reset(self) -> None:
        """Close with RST: linger on, for 0 seconds."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def finish(self) -> None:
        if self.connection.fileno() != -1:
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base class has it
        """Say nothing: the tests look at `requests`."""
