"""zstd, level 1: the only compression of the format. Decompression is bounded before it begins."""

import sys
import threading
from typing import Final

from drtool.errors import Corrupt

if sys.version_info >= (3, 14):  # pragma: no cover - the tests run on one Python
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 1
_own = threading.local()  # a context for each thread: making one takes as long as compressing 10 KB


def compress(plain: bytes | bytearray | memoryview) -> bytes:
    """Return plain as one zstd frame that states its content size."""
    try:
        compressor: zstd.ZstdCompressor = _own.compressor
    except AttributeError:
        compressor = _own.compressor = zstd.ZstdCompressor(level=LEVEL)
    return compressor.compress(plain, mode=zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(frame: bytes, limit: int) -> bytes:
    """Return the content of the one frame. Raises Corrupt when it is damaged or larger than limit bytes."""
    decompressor = zstd.ZstdDecompressor()  # zstd.decompress would go on with whatever frames follow
    try:
        size: int | None = zstd.get_frame_info(frame).decompressed_size
        if size is None or size > limit:
            raise Corrupt(f"a compressed frame of {size} bytes is larger than {limit}")
        plain = decompressor.decompress(frame, size + 1)
    except zstd.ZstdError as fault:
        raise Corrupt("a compressed frame is damaged") from fault
    if not decompressor.eof or decompressor.unused_data or len(plain) != size:
        raise Corrupt("a compressed frame is cut short, or something follows it")
    return plain
