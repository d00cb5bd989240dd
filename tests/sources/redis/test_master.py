"""The serving side of replication, asked in any pieces: by our own reading side, and by who does not belong there."""

import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.master import Master
from drtool.sources.redis.psync import Transfer

RDB = bytes(range(256)) * 9000
HELLO = (
    b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"
    b"\nPING\r\n*3\r\n$8\r\nREPLCONF\r\n$3\r\nack\r\n$2\r\n\r\n\r\n"
)


@pytest.fixture
def rdb(tmp_path: Path) -> Path:
    file = tmp_path / "dump.rdb"
    file.write_bytes(RDB)
    return file


def receive(peer: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (data := peer.recv(count - len(got))):
        got += data
    return got


def test_what_it_serves_is_what_our_own_reading_side_takes_and_who_comes_again_gets_it_again(
    rdb: Path,
) -> None:
    with Master(rdb, "127.0.0.1", 0, "127.0.0.1") as master:
        for _ in range(2):
            with Connection(Endpoint("127.0.0.1", master.port), Access(password=lambda: "any")) as connection:
                transfer = Transfer(connection, read_timeout_s=10, deadline_s=30)
                assert b"".join(transfer) == RDB
                assert transfer.replid == master.replid


@pytest.mark.parametrize(
    "cuts", [[1] * len(HELLO), [5, 7, 40], [len(HELLO)]], ids=["bytes", "pieces", "whole"]
)
def test_commands_are_understood_however_they_are_cut(rdb: Path, cuts: Sequence[int]) -> None:
    with (
        Master(rdb, "127.0.0.1", 0, "127.0.0.1") as master,
        socket.create_connection(("127.0.0.1", master.port), timeout=10) as peer,
    ):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rest = HELLO
        for size in cuts:
            peer.sendall(rest[:size])
            rest = rest[size:]
        peer.sendall(rest + b"FLUSHALL\r\n")
        expected = b"+PONG\r\n+OK\r\n+PONG\r\n+OK\r\n-ERR unknown command\r\n"
        assert receive(peer, len(expected)) == expected


def test_a_replica_that_has_all_is_kept_alive_and_its_word_is_not_answered(rdb: Path) -> None:
    with (
        Master(rdb, "127.0.0.1", 0, "127.0.0.1") as master,
        socket.create_connection(("127.0.0.1", master.port), timeout=10) as peer,
    ):
        peer.sendall(b"PSYNC 8de1787ba490483314a4d30f1c628bc5025eb761 77\r\n")
        head = b"+FULLRESYNC %b 1\r\n$%d\r\n" % (master.replid.encode(), len(RDB))
        assert receive(peer, len(head) + len(RDB)) == head + RDB
        peer.sendall(b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n1\r\n")
        ping = b"*1\r\n$4\r\nPING\r\n"
        assert receive(peer, 2 * len(ping)) == 2 * ping


@pytest.mark.parametrize("said", [b"*x\r\n", b"*1\r\n$x\r\nPING\r\n", b"*1\r\n$999999\r\n" + b"x" * 70_000])
def test_who_speaks_otherwise_is_hung_up_on_and_the_next_is_served(rdb: Path, said: bytes) -> None:
    with Master(rdb, "127.0.0.1", 0, "127.0.0.1") as master:
        with socket.create_connection(("127.0.0.1", master.port), timeout=10) as peer:
            peer.sendall(said)
            assert not _reads(peer)
        with socket.create_connection(("127.0.0.1", master.port), timeout=10) as peer:
            peer.sendall(b"PING\r\n")
            assert receive(peer, 7) == b"+PONG\r\n"


def _reads(peer: socket.socket) -> bytes:
    try:
        return peer.recv(100)
    except ConnectionResetError:
        return b""


def test_who_comes_from_elsewhere_gets_nothing(rdb: Path) -> None:
    with Master(rdb, "127.0.0.1", 0, "127.0.0.9") as master:
        with socket.create_connection(("127.0.0.1", master.port), timeout=10) as peer:
            assert not _reads(peer)
        assert not master.has_come


def test_it_ends_at_once_though_a_replica_takes_nothing(tmp_path: Path) -> None:
    rdb = tmp_path / "large.rdb"
    with rdb.open("wb") as file:
        file.truncate(200 << 20)
    with Master(rdb, "127.0.0.1", 0, "127.0.0.1") as master:
        peer = socket.create_connection(("127.0.0.1", master.port), timeout=10)
        peer.sendall(b"PSYNC ? -1\r\n")
        assert receive(peer, 1) == b"+"
        since = time.monotonic()
    assert time.monotonic() - since < 5
    peer.close()
