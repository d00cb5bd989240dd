"""The trailer: there and back, and what is damaged is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt
from drtool.sources.files.trailer import SIZE, Trailer, decode, decode_end, trailer_size

HASH = b"h" * 32


@st.composite
def trailers(draw: st.DrawFn) -> Trailer:
    extents, at = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(1, 100)), max_size=5)):
        extents.append((at + gap, length))
        at += gap + length
    return Trailer(at + draw(st.integers(0, 5)), tuple(extents), HASH)


@given(trailers())
def test_a_trailer_comes_back_from_the_end_of_its_stream(trailer: Trailer) -> None:
    stream = bytes(trailer.data_size) + trailer.encode()
    assert decode_end(stream) == trailer
    assert trailer_size(stream[-SIZE:]) == len(trailer.encode())


@pytest.mark.parametrize("length", [0, 1, 1000])
def test_a_file_without_holes_has_the_shortest_trailer(length: int) -> None:
    trailer = Trailer(length, ((0, length),) if length else (), HASH)
    assert len(trailer.encode()) == SIZE == 44
    assert decode_end(bytes(length) + trailer.encode()) == trailer


def test_the_bytes_are_those_of_the_format() -> None:
    trailer = Trailer(100, ((10, 5), (50, 1)), HASH)
    assert trailer.encode() == struct.pack(">QQQQIQ", 10, 5, 50, 1, 2, 100) + HASH


@pytest.mark.parametrize(
    ("extents", "length", "data"),
    [
        (((0, 5), (4, 5)), 20, 10),
        (((10, 5), (0, 5)), 20, 10),
        (((0, 0), (1, 1)), 20, 1),
        (((0, 5), (10, 5)), 14, 10),
        (((0, 5), (10, 5)), 20, 9),
        ((), 5, 6),
    ],
)
def test_parts_that_overlap_or_lie_outside_are_refused(
    extents: tuple[tuple[int, int], ...], length: int, data: int
) -> None:
    value = b"".join(struct.pack(">QQ", *extent) for extent in extents)
    value += struct.pack(">IQ", len(extents), length) + HASH
    with pytest.raises(Corrupt):
        decode(value, data + len(value))


@pytest.mark.parametrize("value", [b"", bytes(43), bytes(45), struct.pack(">IQ", 1 << 31, 5) + HASH])
def test_a_trailer_that_is_cut_is_refused(value: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(value, len(value))
