"""LZF, with which Redis compresses strings. Only sampled values are ever decompressed.

Redis: src/lzf_d.c.
"""

from collections.abc import Callable

from drtool.errors import Corrupt

MOST_LITERALS = 0x1F  # 3 bits of length, 5 of offset: no length means that many and one literal bytes
LONG_COPY = 7  # all bits of the length: the next byte is added to it


def decompress(data: bytes, size: int, corrupt: Callable[[str], Corrupt]) -> bytes:
    """Return the size bytes that data stands for; raises corrupt(what) where it stands for something else."""
    out = bytearray()
    position = 0
    try:
        while position < len(data):
            control = data[position]
            position += 1
            if control <= MOST_LITERALS:
                out += data[position : position + control + 1]
                position += control + 1
                continue
            length = control >> 5
            if length == LONG_COPY:
                length += data[position]
                position += 1
            back = ((control & 0x1F) << 8 | data[position]) + 1
            position += 1
            _copy(out, back, length + 2)
    except IndexError as error:
        raise corrupt("compressed bytes that break off") from error
    if len(out) != size or position != len(data):
        raise corrupt(f"compressed bytes that do not give {size}")
    return bytes(out)


def _copy(out: bytearray, back: int, count: int) -> None:
    """Append count bytes that begin back bytes before the end; they may overlap themselves."""
    start = len(out) - back
    if start < 0:
        raise IndexError
    pattern = out[start : start + count]
    out += (pattern * (count // len(pattern) + 1))[:count]
