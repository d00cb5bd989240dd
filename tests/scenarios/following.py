"""A follower in a process of its own, and a load whose ledger knows the LSN of each commit."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from drtool.demo.servers.postgres import PostgresServer
from drtool.demo.servers.process import wait_until
from drtool.errors import DrtoolError
from drtool.repository.storage.base import ObjectStore
from drtool.sources.postgres.connection import connect
from drtool.sources.postgres.wal import format_lsn, parse_lsn, parse_segment_name
from tests.scenarios.commands import Commands

TAIL_EVERY_S = 2
SEGMENT = 16 << 20
ENDS_S = 10


@contextmanager
def follower(drtool: Commands) -> Iterator[subprocess.Popen[str]]:
    """Run `wal follow`, which is gone afterwards; what it said is shown where the test fails."""
    process = drtool.start("wal", "follow", "postgres", "--progress", "plain")
    try:
        yield process
    except BaseException:
        process.kill()
        print(*process.communicate())
        raise
    finally:
        process.kill()
        process.communicate()


class Relay:
    """A TCP port that leads to another one, which may change: a name that moves to the new primary."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._lines: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        self.lead_to(self.target)
        for each in self._lines:
            each.join(ENDS_S)

    def lead_to(self, target: int) -> None:
        """Lead to another port from now on, and cut what is open."""
        self.target = target
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self._open += [client, server]
                line = threading.Thread(target=self._connect, args=(client, server), daemon=True)
                self._lines.append(line)
                line.start()

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
            back.start()
            self._pass(client, server)
            back.join()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


class Row(NamedTuple):
    """A row whose commit was acknowledged at a moment; all of it lies before lsn."""

    id: int
    moment: datetime
    lsn: int


class Load:
    """Commits row after row, through outages of the server, while it is entered."""

    def __init__(self, server: PostgresServer, pause_s: float = 0.01) -> None:
        self.server = server
        self.rows: list[Row] = []
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        server.sql("create table if not exists ledger (id bigint primary key, text text)")
        self._next = int(server.sql("select coalesce(max(id), 0) from ledger")[0][0]) + 1

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self.server.settings) as connection:
                    while not self._stop.wait(self._pause_s):
                        number, self._next = self._next, self._next + 1
                        connection.execute(
                            "insert into ledger values (%s, repeat(md5(%s), 40))", (number, str(number))
                        )
                        moment = datetime.now(UTC)
                        row = connection.execute("select pg_current_wal_insert_lsn()::text").fetchone()
                        assert row is not None
                        self.rows.append(Row(number, moment, parse_lsn(row[0])))
            except Exception:  # noqa: BLE001 - whatever broke the connection: the next one goes on
                time.sleep(0.1)

    def until(self, moment: datetime) -> set[int]:
        return {row.id for row in self.rows if row.moment <= moment}

    def wait_for_more(self, count: int = 50) -> None:
        enough = len(self.rows) + count
        wait_until(lambda: len(self.rows) >= enough, "more rows are committed", deadline_s=60)


def durable_end(store: ObjectStore) -> int:
    """Return the highest LSN of WAL that the store holds, by the names of its objects alone."""
    ends = [0]
    for found in store.list("wal/postgres/"):
        name = found.name.split("/")[-1]
        if not name.split("-")[0].endswith(".history"):
            ends.append(parse_segment_name(name[:24], SEGMENT)[1] + SEGMENT)
    ends += [int(found.name.split("/")[-1].split("-")[1], 16) for found in store.list("tail/postgres/")]
    return max(ends)


def wait_until_durable(server: PostgresServer, store: ObjectStore, deadline_s: float = 60) -> str:
    """Wait until all that the server has written by now is in the store; return that LSN."""
    text = str(server.sql("select pg_current_wal_insert_lsn()::text")[0][0])
    lsn = parse_lsn(text)
    wait_until(
        lambda: durable_end(store) >= lsn, f"WAL is durable up to {format_lsn(lsn)}", deadline_s=deadline_s
    )
    return text


def status_of(drtool: Commands) -> dict[str, Any]:
    value: dict[str, Any] = drtool("status").value
    volume: dict[str, Any] = next(each for each in value["status"]["volumes"] if each["volume"] == "postgres")
    return {**volume, "at": value["status"]["at"], "faults": value["status"]["faults"]}


def is_streaming(server: PostgresServer) -> bool:
    try:
        return bool(
            server.sql(
                "select 1 from pg_stat_replication where application_name = 'drtool' and state = 'streaming'"
            )
        )
    except DrtoolError:
        return False
