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


@dataclass(frozen=True)
class Delay:
    """Let the request wait for so many seconds, then give the store's answer."""

    seconds: float


Fault = Answer | Reset | Truncate | Stall | Delay


@dataclass
class _Injected:
    """A fault, whom it waits for, and how many requests are still to meet it; None: all."""

    fault: Fault
    when: str
    spared: int
    left: int | None

    def is_met(self) -> bool:
        """Tell whether a request that holds `when` meets the fault, and count it."""
        if self.spared > 0:
            self.spared -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


def error(code: str, message: str = "injected") -> bytes:
    """Return the XML of an S3 error."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


class FaultProxy:
    """Listens on a port of address; requests keeps the methods and paths that came."""

    def __init__(
        self, upstream: str, tls: ssl.SSLContext | None = None, *, address: str = "127.0.0.1"
    ) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._faults: list[_Injected] = []
        self._lock = threading.Lock()
        self.requests: list[tuple[str, str]] = []
        self._server = _Server((address, 0), _Handler)
        self._server.proxy = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.endpoint = f"http{'s' * (tls is not None)}://{address}:{self._server.server_address[1]}"
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

    def inject(self, fault: Fault, *, times: int | None = 1, when: str = "", after: int = 0) -> None:
        """Let the next requests whose method and path, "PUT /bucket/name", hold when meet fault.

        times: how many do, or None for all to come. after: how many are spared before.
        """
        with self._lock:
            self._faults.append(_Injected(fault, when, after, times))

    def clear(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._faults.clear()

    @property
    def pending(self) -> int:
        """How many injected faults nobody has met yet; those for all requests do not count."""
        return sum(each.left or 0 for each in self._faults)

    def meet(self, method: str, path: str) -> Fault | None:
        """Note a request, and return the fault that it meets."""
        with self._lock:
            self.requests.append((method, path))
            for injected in self._faults:
                if injected.left != 0 and injected.when in f"{method} {path}" and injected.is_met():
                    return injected.fault
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
            case Delay(seconds=seconds):
                time.sleep(seconds)
                self._give(self.server.proxy.forward(self, body))
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
