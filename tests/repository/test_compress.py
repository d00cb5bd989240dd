"""zstd: one frame, whose size is known and bounded before it is opened."""

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt
from drtool.repository.format import compress

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@given(st.binary(max_size=5000))
def test_a_frame_holds_the_bytes_that_went_in(plain: bytes) -> None:
    assert compress.decompress(compress.compress(plain), len(plain)) == plain
    assert compress.compress(bytearray(plain)) == compress.compress(memoryview(plain))


@given(st.binary(max_size=300))
def test_any_other_bytes_are_corrupt(value: bytes) -> None:
    with pytest.raises(Corrupt):
        compress.decompress(value, 1000)


def test_a_frame_above_the_limit_is_refused_before_it_is_opened() -> None:
    with pytest.raises(Corrupt, match="of 1001 bytes is larger than 1000"):
        compress.decompress(compress.compress(bytes(1001)), 1000)


FRAME = compress.compress(bytes(100_000))
SIZE_AT = FRAME.index(struct.pack("<I", 100_000))


@pytest.mark.parametrize(
    "frame",
    [
        FRAME[:-1],
        FRAME[:SIZE_AT] + struct.pack("<I", 10) + FRAME[SIZE_AT + 4 :],
        FRAME[:SIZE_AT] + struct.pack("<I", 100_001) + FRAME[SIZE_AT + 4 :],
        FRAME + b"x",
        FRAME + FRAME,
        compress.compress(b"") + FRAME,
    ],
    ids=["cut", "says less", "says more", "a byte follows", "a frame follows", "a bomb follows"],
)
def test_a_frame_that_lies_or_does_not_stand_alone_is_refused(frame: bytes) -> None:
    with pytest.raises(Corrupt):
        compress.decompress(frame, 200_000)


def test_a_frame_without_a_stated_size_is_refused() -> None:
    unstated = zstd.ZstdCompressor()
    frame = unstated.compress(b"abc" * 100) + unstated.flush()
    with pytest.raises(Corrupt, match="of None bytes"):
        compress.decompress(frame, 1000)
