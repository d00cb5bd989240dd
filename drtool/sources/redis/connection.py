"""A small RESP client: one connection, one command at a time, its failures told as drtool's errors."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from drtool.errors import DrtoolError, SourceUnavailable
from drtool.sources.redis.refusals import translate

Reply = bytes | int | None | list["Reply"]
LONGEST_LINE = 64 * 1024  # bytes; a status, an error or a length: INFO and the like are bulk strings


class Endpoint(NamedTuple):
    """Where a server listens: a host and port, or the path of a Unix socket as host."""

    host: str
    port: int = 6379

    def __str__(self) -> str:
        return self.host if self.host.startswith("/") else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS: the CA that signed the server, and our own certificate where the server asks for one."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """Who we are. password is asked for when a connection is opened, and kept nowhere."""

    username: str = ""
    password: Callable[[], str] | None = field(default=None, repr=False)
    tls: Tls | None = None


class Connection:
    """An open, authenticated connection. Use as a context.

    Every method raises SourceUnavailable, or TemporaryFailure where waiting helps; what the server refuses by
    right or by name is a CommandRefused.
    """

    def __init__(self, endpoint: Endpoint, access: Access, *, timeout_s: float = 10.0) -> None:
        self.endpoint = endpoint
        self._user = access.username or "default"
        self._buffer = bytearray()
        with _reached(endpoint):
            self._socket = _connect(endpoint, access.tls, timeout_s)
        try:
            if access.password:
                user = [access.username] if access.username else []
                self.call("AUTH", *user, access.password())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket. Safe to repeat."""
        self._socket.close()

    def call(self, *words: str | bytes | int) -> Reply:
        """Send one command and return its reply."""
        self.send(*words)
        return self.reply(str(words[0]))

    def send(self, *words: str | bytes | int) -> None:
        """Send one command, and do not wait for its reply."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            raw = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
        with _reached(self.endpoint):
            self._socket.sendall(b"".join(parts))

    def reply(self, command: str) -> Reply:
        """Return the next reply, as the answer to command."""
        line = self.line()
        match line[:1]:
            case b"+":
                return line[1:]
            case b"-":
                raise self.refusal(line, command)
            case b":":
                return int(line[1:])
            case b"$" if line != b"$-1":
                return self._exactly(int(line[1:]) + 2)[:-2]
            case b"*" if line != b"*-1":
                return [self.reply(command) for _ in range(int(line[1:]))]
        if line in (b"$-1", b"*-1"):
            return None
        raise SourceUnavailable(
            f"what listens on {self.endpoint} does not speak the Redis protocol",
            hint="Check host and port in the policy, and whether the server wants TLS.",
        )

    def refusal(self, line: bytes, command: str) -> DrtoolError:
        """Return the error that an error reply to command stands for."""
        return translate(line[1:].decode("utf-8", "replace"), command, str(self.endpoint), self._user)

    def line(self, before_each_read: Callable[[], None] = lambda: None) -> bytes:
        """Return the next line without its end. Empty lines, which keep a waiting connection alive, are skipped."""
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end]).rstrip(b"\r")
                del self._buffer[: end + 1]
                if line:
                    return line
            elif len(self._buffer) > LONGEST_LINE:
                raise SourceUnavailable(
                    f"redis at {self.endpoint} sent a line without end",
                    hint="See that host and port of the policy lead to a Redis.",
                )
            else:
                before_each_read()
                self._fill()

    def receive_into(self, room: memoryview) -> int:
        """Put the next bytes into room and return how many; at least one."""
        if self._buffer:
            count = min(len(room), len(self._buffer))
            room[:count] = self._buffer[:count]
            del self._buffer[:count]
            return count
        with _reached(self.endpoint):
            count = self._socket.recv_into(room)
        if not count:
            raise _ended_early(self.endpoint)
        return count

    @property
    def address(self) -> str:
        """The address that was reached."""
        return str(self._socket.getpeername()[0])

    @property
    def own_address(self) -> str:
        """The address that we have for the server."""
        return str(self._socket.getsockname()[0])

    def wait_at_most(self, seconds: float) -> None:
        """Let no single read wait longer than this."""
        self._socket.settimeout(seconds)

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _fill(self) -> None:
        with _reached(self.endpoint):
            data = self._socket.recv(64 * 1024)
        if not data:
            raise _ended_early(self.endpoint)
        self._buffer += data


def _connect(endpoint: Endpoint, tls: Tls | None, timeout_s: float) -> socket.socket:
    if endpoint.host.startswith("/"):
        plain = socket.socket(socket.AF_UNIX)
    else:
        plain = socket.create_connection(endpoint, timeout=timeout_s)
    try:
        plain.settimeout(timeout_s)
        if endpoint.host.startswith("/"):
            plain.connect(endpoint.host)
        return _context(tls).wrap_socket(plain, server_hostname=endpoint.host) if tls else plain
    except BaseException:
        plain.close()
        raise


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.certificate_file:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context


@contextmanager
def _reached(endpoint: Endpoint) -> Iterator[None]:
    """Tell what the socket or TLS says in words."""
    try:
        yield
    except ssl.SSLError as error:
        raise _tls_failed(endpoint, error) from error
    except ConnectionRefusedError as error:
        raise SourceUnavailable(
            f"nothing listens on {endpoint}",
            hint="Check host and port in the policy, and whether the server runs.",
        ) from error
    except TimeoutError as error:
        raise SourceUnavailable(
            f"redis at {endpoint} did not answer in time",
            hint="Check the way to it (NetworkPolicy, firewall), that it is not stuck, and which port speaks TLS.",
        ) from error
    except (ConnectionResetError, BrokenPipeError) as error:
        raise _ended_early(endpoint) from error
    except OSError as error:
        raise SourceUnavailable(
            f"redis at {endpoint} cannot be reached: {error.strerror or error}",
            hint="Check host and port in the policy, and the files of its certificates.",
        ) from error


def _ended_early(endpoint: Endpoint) -> SourceUnavailable:
    return SourceUnavailable(
        f"redis at {endpoint} closed the connection early",
        hint="Its log says why: it was stopped, its saving child was killed, or it speaks only TLS.",
    )


def _tls_failed(endpoint: Endpoint, error: ssl.SSLError) -> SourceUnavailable:
    reason = (error.reason or str(error)).lower().replace("_", " ")
    hint = "Check that the server speaks TLS on this port."
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "Give the CA that signed the server's certificate, and the name that the certificate holds as host."
    elif isinstance(error, ssl.SSLEOFError) or "alert" in reason:
        # Redis hangs up, without a word, on a client whose certificate is missing or not of its CA.
        hint = (
            "The server may ask for a client certificate: give one that the server's CA signed, and its key."
        )
    return SourceUnavailable(f"TLS with redis at {endpoint} failed: {reason}", hint=hint)
