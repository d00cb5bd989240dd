"""Fixed-size chunks: split, then join, is the same bytes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.repository.format.chunker import split

pieces = st.lists(
    st.binary(max_size=40).flatmap(lambda b: st.sampled_from([b, bytes(bytearray(b))])), max_size=12
)


@given(stream=pieces, size=st.integers(1, 50))
def test_joined_chunks_are_the_stream_and_all_but_the_last_are_full(stream: list[bytes], size: int) -> None:
    chunks = list(split(stream, size))
    assert b"".join(chunks) == b"".join(stream)
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= size for chunk in chunks[-1:])


@pytest.mark.parametrize("shows", [lambda buffer: buffer, memoryview], ids=["the buffer", "a view of it"])
def test_a_chunk_keeps_its_bytes_when_the_stream_uses_its_buffer_again(shows: Callable[..., Any]) -> None:
    buffer = bytearray(b"aaaa")
    shown = shows(buffer)

    def stream() -> Iterator[Any]:
        yield shown
        buffer[:] = b"bbbb"
        yield shown

    assert list(split(stream(), 4)) == [b"aaaa", b"bbbb"]
    buffer[:] = b"aaaa"
    assert list(split(stream(), 3)) == [b"aaa", b"abb", b"bb"]


def test_views_of_what_stays_as_it_is_are_joined_as_bytes() -> None:
    view = memoryview(b"abcdefgh")
    chunks = list(split([view[:3], view[3:4], view[4:]], 3))
    assert chunks == [b"abc", b"def", b"gh"]
    assert {type(chunk) for chunk in chunks} == {bytes}


def test_a_piece_that_is_a_whole_chunk_is_not_copied_and_an_empty_one_makes_none() -> None:
    piece = b"x" * 40
    [chunk] = split([b"", piece, b""], 50)
    assert chunk is piece
    assert list(split([b"", b""], 50)) == []


def test_a_chunk_is_there_as_soon_as_its_bytes_are() -> None:
    read: list[int] = []

    def stream() -> Iterator[Any]:
        for number in range(3):
            read.append(number)
            yield b"1234"

    chunks = split(stream(), 4)
    assert next(chunks) == b"1234"
    assert read == [0]
