"""The packed forms in which Redis keeps small collections: ziplist, listpack, intset. Each is one string of an RDB.

Redis: src/ziplist.c, src/listpack.c, src/intset.c. A number stands as its decimal digits.
"""

from collections.abc import Iterator

from drtool.sources.redis.rdb.reader import Reader

END = 0xFF
ZIPLIST_INTEGERS = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}  # first byte to size
LISTPACK_INTEGERS = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
LONG_PREVIOUS = 0xFE  # the size of the element before takes 4 bytes more
FIRST_SMALL, LAST_SMALL = 0xF1, 0xFD  # 0 to 12, which stand in a ziplist's first byte itself
STRING_6, NUMBER_13, STRING_12, STRING_32 = 0x80, 0xC0, 0xE0, 0xF0  # a listpack's first bytes, and their bits
MOST_BACK_BYTES = 5


def ziplist(packed: bytes) -> Iterator[bytes]:
    """Yield the elements of a ziplist."""
    reader = Reader([packed])
    reader.skip(10)
    while (previous := reader.byte()) != END:
        if previous == LONG_PREVIOUS:
            reader.skip(4)
        yield _ziplist_element(reader, reader.byte())
    _must_end(reader, packed)


def _ziplist_element(reader: Reader, first: int) -> bytes:
    match first >> 6:
        case 0:
            return reader.read(first & 0x3F)
        case 1:
            return reader.read((first & 0x3F) << 8 | reader.byte())
        case 2:
            return reader.read(int.from_bytes(reader.read(4), "big"))
    if first in ZIPLIST_INTEGERS:
        return b"%d" % reader.integer(ZIPLIST_INTEGERS[first], signed=True)
    if FIRST_SMALL <= first <= LAST_SMALL:
        return b"%d" % ((first & 0x0F) - 1)
    raise reader.corrupt(f"no ziplist element begins with {first:#x}")


def listpack(packed: bytes) -> Iterator[bytes]:
    """Yield the elements of a listpack."""
    reader = Reader([packed])
    reader.skip(6)
    while (first := reader.byte()) != END:
        start = reader.offset - 1
        yield _listpack_element(reader, first)
        reader.skip(_back_length_size(reader.offset - start))
    _must_end(reader, packed)


def _listpack_element(reader: Reader, first: int) -> bytes:
    if first < STRING_6:
        return b"%d" % first
    if NUMBER_13 <= first < STRING_12:
        number = (first & 0x1F) << 8 | reader.byte()
        return b"%d" % (number - (1 << 13) if number >> 12 else number)
    if first in LISTPACK_INTEGERS:
        return b"%d" % reader.integer(LISTPACK_INTEGERS[first], signed=True)
    if first < NUMBER_13:
        size = first & 0x3F
    elif first < STRING_32:
        size = (first & 0x0F) << 8 | reader.byte()
    elif first == STRING_32:
        size = reader.integer(4)
    else:
        raise reader.corrupt(f"no listpack element begins with {first:#x}")
    return reader.read(size)


def _back_length_size(size: int) -> int:
    """Return how many bytes follow an element of size bytes, to walk backwards: 7 bits each, at most 5."""
    count = 1
    while size >= (1 << 7 * count) - (count > 1) and count < MOST_BACK_BYTES:
        count += 1
    return count


def intset(packed: bytes) -> Iterator[bytes]:
    """Yield the members of an intset, smallest first."""
    reader = Reader([packed])
    size, count = reader.integer(4), reader.integer(4)
    if size not in (2, 4, 8):
        raise reader.corrupt(f"an intset of {size}-byte numbers")
    for _ in range(count):
        yield b"%d" % reader.integer(size, signed=True)
    _must_end(reader, packed)


def _must_end(reader: Reader, packed: bytes) -> None:
    if reader.offset != len(packed):
        raise reader.corrupt("bytes behind the end of a packed collection")
