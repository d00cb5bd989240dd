"""What a serialized value holds, whichever of its encodings it came in.

A server is free to store one value in many ways (ziplist or listpack, compressed or not, a hash in any order), so
values are compared by a fingerprint of their elements. Redis: src/rdb.c, rdbLoadObject.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from enum import StrEnum

from drtool.errors import NotProven
from drtool.sources.redis.rdb.packed import intset, listpack, ziplist
from drtool.sources.redis.rdb.reader import Reader


class Kind(StrEnum):
    """The type of a value, as TYPE tells it."""

    STRING = "string"
    LIST = "list"
    SET = "set"
    ZSET = "zset"
    HASH = "hash"
    STREAM = "stream"


OLDEST, MIDDLE, NEWEST = range(1, 4)  # streams of Redis 6.2, 7.0 and 7.2
PLAIN_NODE = 1  # a quicklist node that is one big element, not a listpack
FOOTER = 10  # bytes behind a DUMP: the RDB version and a CRC-64

String = Callable[[], bytes]  # Reader.string, or Reader.skip_string to pass over
Element = tuple[bytes, ...]
Unpack = Callable[[bytes], Iterator[bytes]]


def _one(_: Reader, string: String) -> Iterator[Element]:
    yield (string(),)


def _many(reader: Reader, string: String) -> Iterator[Element]:
    for _ in range(reader.length()):
        yield (string(),)


def _pairs(reader: Reader, string: String) -> Iterator[Element]:
    for _ in range(reader.length()):
        yield string(), string()


def _scored_by_text(reader: Reader, string: String) -> Iterator[Element]:
    words = {253: b"nan", 254: b"inf", 255: b"-inf"}
    for _ in range(reader.length()):
        member, size = string(), reader.byte()
        yield member, _score(reader, words.get(size) or reader.read(size))


def _scored(reader: Reader, string: String) -> Iterator[Element]:
    for _ in range(reader.length()):
        yield string(), reader.read(8)


def _score(reader: Reader, text: bytes) -> bytes:
    try:
        return struct.pack("<d", float(text))
    except (ValueError, OverflowError) as error:
        raise reader.corrupt("a score that is no number") from error


def _packed(
    unpack: Unpack, *, width: int = 1, scored: bool = False
) -> Callable[[Reader, String], Iterator[Element]]:
    """Return a walk over one packed string whose elements come width at a time."""

    def walk(reader: Reader, string: String) -> Iterator[Element]:
        packed = string()
        if not packed:  # passed over
            return
        elements = unpack(packed)
        for first in elements:
            rest = tuple(next(elements, b"") for _ in range(width - 1))
            yield (first, _score(reader, rest[0])) if scored else (first, *rest)

    return walk


def _quicklist(reader: Reader, string: String) -> Iterator[Element]:
    for _ in range(reader.length()):
        yield from _packed(ziplist)(reader, string)


def _quicklist2(reader: Reader, string: String) -> Iterator[Element]:
    for _ in range(reader.length()):
        if reader.length() == PLAIN_NODE:
            yield (string(),)
        else:
            yield from _packed(listpack)(reader, string)


def _stream(version: int) -> Callable[[Reader, String], Iterator[Element]]:
    """Return a walk over a stream: entries, then groups. What Redis 6.2 did not know yet is read, and not told."""

    def walk(reader: Reader, string: String) -> Iterator[Element]:
        for _ in range(reader.length()):
            yield string(), string()
        yield _lengths(reader, 3)  # elements, and the last id: milliseconds and sequence
        if version > OLDEST:
            _lengths(reader, 5)  # first id, highest deleted id, entries ever added
        for _ in range(reader.length()):
            yield string(), *_lengths(reader, 2)
            if version > OLDEST:
                reader.length()  # entries read
            for _ in range(reader.length()):
                yield reader.read(16), reader.read(8), *_lengths(reader, 1)
            yield from _consumers(reader, string, version)

    return walk


def _consumers(reader: Reader, string: String, version: int) -> Iterator[Element]:
    for _ in range(reader.length()):
        yield string(), reader.read(8)
        if version > MIDDLE:
            reader.skip(8)  # when the consumer was last active
        for _ in range(reader.length()):
            yield (reader.read(16),)


def _lengths(reader: Reader, count: int) -> Element:
    return tuple(b"%d" % reader.length() for _ in range(count))


WALKS: dict[int, tuple[Kind, Callable[[Reader, String], Iterator[Element]]]] = {
    0: (Kind.STRING, _one),
    1: (Kind.LIST, _many),
    2: (Kind.SET, _many),
    3: (Kind.ZSET, _scored_by_text),
    4: (Kind.HASH, _pairs),
    5: (Kind.ZSET, _scored),
    10: (Kind.LIST, _packed(ziplist)),
    11: (Kind.SET, _packed(intset)),
    12: (Kind.ZSET, _packed(ziplist, width=2, scored=True)),
    13: (Kind.HASH, _packed(ziplist, width=2)),
    14: (Kind.LIST, _quicklist),
    15: (Kind.STREAM, _stream(OLDEST)),
    16: (Kind.HASH, _packed(listpack, width=2)),
    17: (Kind.ZSET, _packed(listpack, width=2, scored=True)),
    18: (Kind.LIST, _quicklist2),
    19: (Kind.STREAM, _stream(MIDDLE)),
    20: (Kind.SET, _packed(listpack)),
    21: (Kind.STREAM, _stream(NEWEST)),
}
MODULES = {6, 7}


def kind_of(reader: Reader, code: int) -> Kind:
    """Return the kind that an RDB's type code stands for."""
    if code in MODULES:
        raise module_data(reader)
    if code not in WALKS:
        raise reader.corrupt(f"no value has the type {code}")
    return WALKS[code][0]


def skip(reader: Reader, code: int) -> None:
    """Pass over the value of a key. Holds at most one number of it."""
    for _ in WALKS[code][1](reader, reader.skip_string):
        pass


def fingerprint(value: bytes) -> str:
    """Return a digest of a value, given as type code and serialized bytes: equal if and only if the elements are.

    The order counts for lists and streams alone. 64 hex digits.
    """
    reader = Reader([value])
    code = reader.byte()
    kind = kind_of(reader, code)
    total = 0
    whole = hashlib.sha256()
    for element in WALKS[code][1](reader, reader.string):
        digest = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in element)).digest()
        whole.update(digest)
        total += int.from_bytes(digest)
    if reader.offset != len(value):
        raise reader.corrupt("bytes behind the end of a value")
    elements = whole.digest() if kind in (Kind.LIST, Kind.STREAM) else (total % 2**256).to_bytes(32)
    return hashlib.sha256(kind.encode() + elements).hexdigest()


def fingerprint_of_dump(payload: bytes) -> str:
    """Return the fingerprint of what DUMP gave."""
    return fingerprint(payload[:-FOOTER])


def module_data(reader: Reader) -> NotProven:
    """Return the error that says why this RDB cannot be read through."""
    return NotProven(
        f"the RDB holds data of a module at byte {reader.offset}, which only that module can read",
        hint="Restore it with --to-dir and start a server that loads the module; drtool cannot prove it.",
    )
