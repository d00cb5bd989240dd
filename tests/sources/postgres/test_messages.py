"""Messages out of a stream in any cut, and what is no message."""

import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.sources.postgres.messages import (
    LONGEST,
    LostSync,
    Messages,
    begins_answer,
    columns_of,
    fields_of,
)
from tests.sources.postgres.standins import data_row, message

SMALL = 64  # of the buffers: every message here moves to another one sooner or later
STREAM = [
    (b"T", b""),
    (b"d", b"0123456789"),
    (b"d", bytes(range(59))),  # just fits
    (b"d", bytes(range(60))),  # does not
    (b"d", bytes(range(256)) * 2),
    (b"D", b"x" * 7),
    (b"Z", b"I"),
]


def joined(stream: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(message(kind, body) for kind, body in stream)


def in_pieces(pieces: Iterator[bytes]) -> Callable[[memoryview], int]:
    """Return a receive: each piece as it comes, the rest of one that finds no room at the next call."""
    rest = b""

    def receive(room: memoryview) -> int:
        nonlocal rest
        rest = rest or next(pieces, b"")
        taken, rest = rest[: len(room)], rest[len(room) :]
        room[: len(taken)] = taken
        return len(taken)

    return receive


def taken(messages: Messages, count: int) -> list[tuple[bytes, bytes]]:
    return [(bytes([kind]), bytes(body)) for kind, body in (messages.take() for _ in range(count))]


@pytest.mark.parametrize("at", range(len(joined(STREAM)) + 1))
def test_messages_are_whole_wherever_the_stream_is_cut(at: int) -> None:
    data = joined(STREAM)
    pieces = (piece for piece in (data[:at], data[at:]) if piece)
    assert taken(Messages(in_pieces(pieces), SMALL), len(STREAM)) == STREAM


def test_messages_come_byte_by_byte() -> None:
    pieces = (bytes([byte]) for byte in joined(STREAM))
    messages = Messages(in_pieces(pieces), SMALL)
    assert taken(messages, len(STREAM)) == STREAM
    with pytest.raises(EOFError, match="closed the connection"):
        messages.take()


@given(st.lists(st.binary(max_size=200), max_size=30), st.integers(1, 300))
def test_no_body_that_is_kept_is_written_over(bodies: list[bytes], size: int) -> None:
    data = joined([(b"d", body) for body in bodies])
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    messages = Messages(in_pieces(pieces), SMALL)
    kept = [messages.take()[1] for _ in bodies]
    assert kept == bodies
    assert all(body.readonly for body in kept)


def test_buffers_are_used_again_by_who_keeps_nothing() -> None:
    rooms: set[int] = set()
    endless = in_pieces(iter(lambda: message(b"d", b"x" * 20), None))

    def receive(room: memoryview) -> int:
        rooms.add(id(room.obj))
        return endless(room)

    messages = Messages(receive, SMALL)
    pending = [messages.take()[1] for _ in range(2)]
    for _ in range(1000):
        pending = [*pending[1:], messages.take()[1]]
    assert len(rooms) <= 4


@pytest.mark.parametrize("length", [0, 3, LONGEST + 1, 2**31, 2**32 - 1])
def test_a_length_that_lies_is_refused_before_a_byte_of_it_is_waited_for(length: int) -> None:
    pieces = iter([struct.pack(">cI", b"d", length)])
    with pytest.raises(LostSync, match=f"lost synchronization .* type 'd', length {length}$"):
        Messages(in_pieces(pieces), SMALL).take()


@pytest.mark.parametrize("size", range(len(message(b"d", b"body"))))
def test_a_message_that_is_cut_short_is_none(size: int) -> None:
    with pytest.raises(EOFError, match="server closed the connection unexpectedly"):
        Messages(in_pieces(iter([message(b"d", b"body")[:size]]))).take()


def test_a_row_has_its_columns_and_null_is_no_empty_one() -> None:
    row = data_row(b"0/2000028", None, b"", b"\0\xff")
    assert columns_of(memoryview(row)) == [b"0/2000028", None, b"", b"\0\xff"]
    for size in range(len(row)):
        with pytest.raises(LostSync):
            columns_of(memoryview(row)[:size])


@pytest.mark.parametrize("length", [-2, 3, 2**31 - 1])
def test_a_column_whose_length_lies_is_refused(length: int) -> None:
    with pytest.raises(LostSync, match=f"length {length}"):
        columns_of(memoryview(struct.pack(">Hi", 1, length) + b"ab"))


def test_what_follows_the_last_column_is_refused() -> None:
    with pytest.raises(LostSync, match="longer than its columns"):
        columns_of(memoryview(data_row(b"1") + b"2"))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"SERROR\0VERROR\0CXX001\0Msaid\0\0", {"S": "ERROR", "V": "ERROR", "C": "XX001", "M": "said"}),
        (b"Mcaf\xe9\0\0", {"M": "caf\ufffd"}),
        (b"Mno end", {"M": "no end"}),
        (b"\0", {}),
        (b"", {}),
    ],
)
def test_the_fields_of_an_error_go_by_their_letters(body: bytes, fields: dict[str, str]) -> None:
    assert fields_of(memoryview(body)) == fields


@pytest.mark.parametrize(
    ("head", "begins"),
    [
        (message(b"T", b"x" * 60)[:5], True),
        (message(b"E", b"x" * 300)[:5], True),
        (message(b"N", b"x" * 300)[:5], True),
        (message(b"S", b"x" * 30)[:5], True),
        (message(b"d", b"x")[:5], False),
        (b"", False),
        (b"T\0\0\0", False),
        (b"T\0\0\0\x03", False),
        (b"T\0\x01\0\x01", False),
        (b"\x17\x03\x03\x00\x45", False),  # a record of TLS
        (b"\x00\x00\x00\x45\x05", False),  # a packet of GSSAPI: its length comes first
        (b"Tz\0UT", False),  # the rest of a ParameterStatus
    ],
)
def test_an_answer_is_known_by_how_it_begins(head: bytes, *, begins: bool) -> None:
    assert begins_answer(head) is begins
