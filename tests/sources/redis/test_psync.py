"""The replication protocol, spoken by a peer that can send it in any pieces and stop at any byte."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drtool.errors import DrtoolError, SourceUnavailable, TemporaryFailure
from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.psync import Transfer
from drtool.sources.redis.refusals import CommandRefused

MARK = b"0123456789abcdef0123456789abcdef01234567"
HELLO = b"+OK\r\n+OK\r\n+FULLRESYNC 8de1787ba490483314a4d30f1c628bc5025eb761 4096\r\n"


@contextmanager
def peer(said: Sequence[bytes], *, stays: bool = False) -> Iterator[Endpoint]:
    """Listen on a loopback port, and say each piece to who comes, whatever is asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def speak() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in said:
                    connection.sendall(piece)
                if not stays:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            done.wait(10)

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield Endpoint("127.0.0.1", listener.getsockname()[1])
    finally:
        done.set()
        thread.join()
        listener.close()


def receive(
    endpoint: Endpoint, *, read_timeout_s: float = 5, deadline_s: float = 10
) -> tuple[Transfer, bytes]:
    with Connection(endpoint, Access()) as connection:
        transfer = Transfer(connection, read_timeout_s=read_timeout_s, deadline_s=deadline_s)
        return transfer, b"".join(transfer)


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@settings(max_examples=60, deadline=None)
@given(
    rdb=st.binary(max_size=300),
    sizes=st.lists(st.integers(1, 60), max_size=12),
    newlines=st.integers(0, 3),
    form=st.sampled_from(["counted", "marked"]),
)
def test_a_transfer_yields_the_rdb_alone_however_it_is_cut(
    rdb: bytes, sizes: list[int], newlines: int, form: str
) -> None:
    said = b"\n" * newlines + HELLO + b"\n" * newlines
    said += (
        b"$%d\r\n%b" % (len(rdb), rdb)
        if form == "counted"
        else b"$EOF:%b\r\n%b%b%b" % (MARK, rdb, MARK, b"\n" * newlines)
    )
    with peer(cut(said, sizes)) as endpoint:
        transfer, received = receive(endpoint)
    assert received == rdb
    assert (transfer.replid[:8], transfer.offset) == ("8de1787b", 4096)


def test_a_transfer_larger_than_its_buffer_is_whole_and_stops_at_the_mark() -> None:
    rdb = bytes(range(256)) * 14_000
    with peer([HELLO, b"$EOF:" + MARK + b"\r\n", rdb + MARK + b"\n"], stays=True) as endpoint:
        assert receive(endpoint)[1] == rdb


@pytest.mark.parametrize("said", [b"$EOF:" + MARK + b"\r\nREDIS" + MARK[:-1], b"$100\r\nREDIS", b"\n", b""])
def test_a_transfer_that_ends_early_raises(said: bytes) -> None:
    with (
        peer([HELLO + said]) as endpoint,
        pytest.raises(SourceUnavailable, match="closed the connection early"),
    ):
        receive(endpoint)


def test_a_silent_server_is_left_after_the_read_timeout() -> None:
    with (
        peer([HELLO, b"$100\r\nREDIS"], stays=True) as endpoint,
        pytest.raises(SourceUnavailable, match="did not answer in time"),
    ):
        receive(endpoint, read_timeout_s=0.05)


def test_a_server_that_only_keeps_alive_is_left_at_the_deadline() -> None:
    now = [0.0]
    with peer([HELLO, b"\n"], stays=True) as endpoint, Connection(endpoint, Access()) as connection:
        transfer = Transfer(connection, read_timeout_s=0.5, deadline_s=10, clock=lambda: now[0])
        now[0] = 10.0
        with pytest.raises(SourceUnavailable, match="did not finish"):
            list(transfer)


def test_an_unknown_announcement_is_said() -> None:
    with peer([HELLO + b"$streamed\r\n"]) as endpoint, pytest.raises(SourceUnavailable, match="no known way"):
        receive(endpoint)


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (b"-NOMASTERLINK Can't SYNC while not connected with my master", TemporaryFailure, "lost its master"),
        (b"-LOADING Redis is loading the dataset in memory", TemporaryFailure, "loading"),
        (b"-NOAUTH Authentication required.", SourceUnavailable, "asks for a password"),
        (b"-NOPERM this user has no permissions to run the 'psync' command", CommandRefused, r"run PSYNC"),
        (b"-ERR Unable to perform background save", SourceUnavailable, "background save"),
        (b"+CONTINUE", SourceUnavailable, "does not answer PSYNC"),
    ],
)
def test_a_refusal_is_told_in_words(reply: bytes, error: type[DrtoolError], says: str) -> None:
    with peer([b"+OK\r\n+OK\r\n" + reply + b"\r\n"]) as endpoint, pytest.raises(error, match=says) as raised:
        receive(endpoint)
    assert raised.value.hint


@pytest.mark.parametrize("line", [b"HTTP/1.1 400 Bad Request\r\n", b"x" * 100_000])
def test_what_speaks_no_redis_is_said_to(line: bytes) -> None:
    with peer([line]) as endpoint, pytest.raises(SourceUnavailable, match=r"does not speak|without end"):
        receive(endpoint)
