"""Stand-ins at the seams of the capture: a sink in memory, a restore by hand, a server that says one thing."""

import contextlib
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from drtool.demo.servers.postgres import PostgresServer, give
from drtool.sources.base import Artifact
from drtool.sources.postgres.base_backup import BackupOptions, BaseBackup
from drtool.sources.postgres.connection import Replication
from drtool.sources.postgres.receiver import Start
from drtool.sources.postgres.slot import make_slot
from drtool.sources.postgres.wal import segment_name, segment_start
from drtool.sources.postgres.wal_stream import ServerState

T = TypeVar("T")


class NewServer(Protocol):
    """What the fixture new_server gives: make a server of one's own, not started."""

    def __call__(self, major: int = 18, wal_segment_mb: int = 1, **settings: object) -> PostgresServer: ...


class MemorySink:
    """Keeps what it is given. Clear `gate` to stall it; put an exception into `failure` to make it fail."""

    def __init__(self) -> None:
        self.histories: dict[int, bytes] = {}
        self.segments: dict[tuple[int, int], bytes] = {}
        self.tails: list[tuple[int, tuple[int, int], bytes]] = []
        self.states: list[ServerState] = []
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.stalled = threading.Event()
        self.failure: Exception | None = None
        self.tailed_to: dict[tuple[int, int], int] = {}

    def history(self, timeline: int, content: bytes) -> None:
        self.calls.append(f"history {timeline}")
        self.histories[timeline] = content

    def segment(self, timeline: int, start_lsn: int, data: bytes) -> None:
        self._stall()
        self.calls.append(f"segment {timeline}")
        self.segments[timeline, start_lsn] = data

    def tail_begin(self, timeline: int, start_lsn: int) -> int:
        return self.tailed_to.get((timeline, start_lsn), start_lsn)

    def tail(self, timeline: int, span: tuple[int, int], data: bytes, state: ServerState) -> None:
        self._stall()
        self.calls.append(f"tail {timeline}")
        assert len(data) == span[1] - span[0]
        self.tails.append((timeline, span, data))
        self.states.append(state)

    def _stall(self) -> None:
        if not self.gate.is_set():
            self.stalled.set()
            assert self.gate.wait(60)
        if self.failure is not None:
            raise self.failure

    def write_to(self, directory: Path, segment_size: int) -> None:
        """Write segments, and tails padded to segments, as recovery expects them in pg_wal."""
        for (timeline, start), data in self.segments.items():
            (directory / segment_name(timeline, start, segment_size)).write_bytes(data)
        for timeline, (begin, _), data in self.tails:
            start = segment_start(begin, segment_size)
            path = directory / segment_name(timeline, start, segment_size)
            if data and (timeline, start) not in self.segments:
                known = path.read_bytes()[: begin - start] if begin > start else b""
                path.write_bytes((known + data).ljust(segment_size, b"\0"))


def start_of(server: PostgresServer, lsn: int | None = None) -> Start:
    """Return where a receiver of server begins: at the segment of lsn, or of what is flushed now."""
    with Replication(server.settings) as replication:
        identity = replication.identify()
    lsn = identity.flush_lsn if lsn is None else lsn
    return Start(identity.system_identifier, identity.timeline, segment_start(lsn, identity.wal_segment_size))


def write_artifacts(artifacts: Iterator[Artifact], directory: Path) -> None:
    """Write a base backup the plain way."""
    directory.mkdir(mode=0o700)
    for artifact in artifacts:
        path = directory / artifact.path
        if artifact.entry["type"] == "directory":
            path.mkdir(parents=True, exist_ok=True)  # tablespaces come before what they lie in
        elif artifact.entry["type"] == "symlink":
            path.symlink_to(artifact.entry["target"])
        else:
            path.write_bytes(b"".join(artifact.stream))
        if artifact.entry["type"] != "symlink":
            path.chmod(artifact.entry["mode"])


def take_base_backup(server: PostgresServer, directory: Path) -> dict[str, object]:
    """Take a base backup into directory, and return its facts."""
    with BaseBackup(server.settings, BackupOptions("test")) as backup:
        write_artifacts(iter(backup), directory)
        return backup.result().facts


def move_tablespaces(data: Path, to: Path) -> None:
    """Put tablespaces below `to`, with links and tablespace_map that fit."""
    lines = []
    for tablespace in (data / "pg_tblspc").iterdir():
        moved = shutil.move(tablespace, to / f"tablespace-{tablespace.name}")
        tablespace.symlink_to(moved)
        lines.append(f"{tablespace.name} {moved}\n")
    (data / "tablespace_map").write_text("".join(lines))


def restored(server: PostgresServer, data: Path) -> PostgresServer:
    """Return a server on data, with the binaries and the password of server."""
    give(data.parent)
    return PostgresServer(data, server.bin_dir, password=server.password, fast=True)


def standby_of(primary: PostgresServer, directory: Path) -> PostgresServer:
    """Return a running standby that streams from primary."""
    make_slot(primary.settings, "standby")
    take_base_backup(primary, directory / "data")
    (directory / "data" / "standby.signal").touch()
    with (directory / "data" / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(
            f"primary_conninfo = 'host=127.0.0.1 port={primary.port} user=postgres password={primary.password}'\n"
            "primary_slot_name = 'standby'\n"
        )
    standby = restored(primary, directory / "data")
    standby.start()
    return standby


def eventually(check: Callable[[], object], deadline_s: float = 20) -> None:
    """Return once check is true; fail after deadline_s."""
    end = time.monotonic() + deadline_s
    while not check():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def in_background(call: Callable[[], T]) -> Future[T]:
    """Run call in a thread of its own; the future has what it returns or raises."""
    return ThreadPoolExecutor(1).submit(call)


@contextlib.contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """Listen on a port, and answer each start-up packet with reply. TLS is declined, as PostgreSQL does it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    if len(client.recv(4096)) == 8:  # an SSLRequest
                        client.sendall(b"N")
                        client.recv(4096)
                    client.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@contextlib.contextmanager
def scripted(*answers: bytes, reset: bool = False) -> Iterator[int]:
    """Listen on a port, let everybody in, answer the queries in their order, and hang up after the last, or reset.

    A query beyond the first that b"" is for is waited for, and not answered.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(client: socket.socket) -> None:
        while len(client.recv(4096)) == 8:  # neither TLS nor GSSAPI
            client.sendall(b"N")
        client.sendall(welcome("18.0"))
        for answer in answers:
            client.recv(4096)
            client.sendall(answer)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    talk(client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def message(kind: bytes, body: bytes) -> bytes:
    """Return one message of protocol 3."""
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def data_row(*columns: bytes | None) -> bytes:
    """Return the body of a DataRow."""
    return len(columns).to_bytes(2, "big") + b"".join(
        b"\xff" * 4 if column is None else len(column).to_bytes(4, "big") + column for column in columns
    )


def rows(*values: tuple[bytes | None, ...]) -> bytes:
    """Return a whole result with these rows, described by their number of columns only."""
    described = len(values[0]).to_bytes(2, "big") + (b"c\0" + bytes(18)) * len(values[0])
    return b"".join(
        (
            message(b"T", described),
            *(message(b"D", data_row(*value)) for value in values),
            message(b"C", b"SELECT\0"),
        )
    )


def said(kind: bytes, severity: str, text: str, sqlstate: str) -> bytes:
    """Return an ErrorResponse (E) or NoticeResponse (N)."""
    fields = ((b"S", severity), (b"V", severity), (b"C", sqlstate), (b"M", text))
    return message(kind, b"".join(code + value.encode() + b"\0" for code, value in fields) + b"\0")


def error_response(message: str, sqlstate: str = "08P01") -> bytes:
    """Return a FATAL ErrorResponse as the protocol wants it."""
    return said(b"E", "FATAL", message, sqlstate)


def welcome(version: str) -> bytes:
    """Return what a server of version says when it lets everybody in."""
    status = f"server_version\0{version}\0".encode()
    return b"R\0\0\0\x08\0\0\0\0" + b"S" + (len(status) + 4).to_bytes(4, "big") + status + b"Z\0\0\0\x05I"
