"""Reads the RDB's numbers and strings off a stream, whatever pieces the stream comes in.

Redis: src/rdb.c, rdbLoadLenByRef, rdbGenericLoadStringObject.
"""

from collections.abc import Iterable

from drtool.errors import Corrupt
from drtool.sources.redis.rdb.lzf import decompress

LONGEST_STRING = 512 * 1024 * 1024  # bytes; proto-max-bulk-len, what a client can send by default

LENGTH_6, LENGTH_14, LENGTH_LONG, ENCODED = range(4)  # the two high bits of a length's first byte
LENGTH_32, LENGTH_64 = 0x80, 0x81
INT8, INT16, INT32, LZF = range(4)  # what ENCODED announces
INT_SIZES = {INT8: 1, INT16: 2, INT32: 4}


class Reader:
    """A position in a stream of bytes. Every method raises Corrupt, with the offset, where the stream ends.

    What is read between record() and recorded() is kept beside, up to a limit.
    """

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._pieces = iter(stream)
        self._piece = b""
        self._position = 0
        self._before = 0
        self._record: bytearray | None = None
        self._record_limit = 0

    @property
    def offset(self) -> int:
        """The bytes read so far."""
        return self._before + self._position

    def corrupt(self, what: str) -> Corrupt:
        """Return the error that says what is wrong here, with the offset."""
        return Corrupt(f"{what} at byte {self.offset} of the RDB", hint="Take another recovery point.")

    def read(self, count: int) -> bytes:
        """Return the next count bytes."""
        end = self._position + count
        if end <= len(self._piece):
            data = self._piece[self._position : end]
            self._position = end
        else:
            if count > LONGEST_STRING:
                raise self.corrupt(f"a string of {count} bytes")
            data = b"".join(self._runs(count))
        if self._record is not None:
            self._keep(data)
        return data

    def skip(self, count: int) -> None:
        """Pass over count bytes, holding none of them."""
        end = self._position + count
        if self._record is None and end <= len(self._piece):
            self._position = end
            return
        for run in self._runs(count):
            if self._record is not None:
                self._keep(run)

    def record(self, limit: int) -> None:
        """Keep what is read from now on, as long as it is at most limit bytes."""
        self._record = bytearray()
        self._record_limit = limit

    def recorded(self) -> bytes | None:
        """Return what was read since record(), or None if it was more than the limit; and keep no more."""
        kept, self._record = self._record, None
        return bytes(kept) if kept is not None else None

    def byte(self) -> int:
        """Return the next byte."""
        return self.read(1)[0]

    def integer(self, size: int, *, signed: bool = False) -> int:
        """Return the next size bytes as a number, least byte first."""
        return int.from_bytes(self.read(size), "little", signed=signed)

    def length(self) -> int:
        """Return the next length."""
        value, is_encoding = self._length_or_encoding()
        if is_encoding:
            raise self.corrupt("an encoding instead of a length")
        return value

    def string(self) -> bytes:
        """Return the next string, decompressed; a number stands as its decimal digits."""
        value, is_encoding = self._length_or_encoding()
        if not is_encoding:
            return self.read(value)
        if value in INT_SIZES:
            return b"%d" % self.integer(INT_SIZES[value], signed=True)
        if value == LZF:
            packed, plain = self.length(), self.length()
            if plain > LONGEST_STRING:
                raise self.corrupt(f"a string of {plain} bytes")
            return decompress(self.read(packed), plain, self.corrupt)
        raise self.corrupt(f"a string of unknown encoding {value}")

    def skip_string(self) -> bytes:
        """Pass over the next string. Returns nothing of it."""
        value, is_encoding = self._length_or_encoding()
        if not is_encoding:
            self.skip(value)
        elif value in INT_SIZES:
            self.skip(INT_SIZES[value])
        elif value == LZF:
            packed, _ = self.length(), self.length()
            self.skip(packed)
        else:
            raise self.corrupt(f"a string of unknown encoding {value}")
        return b""

    def _length_or_encoding(self) -> tuple[int, bool]:
        first = self.byte()
        kind = first >> 6
        if kind == LENGTH_6:
            return first & 0x3F, False
        if kind == LENGTH_14:
            return (first & 0x3F) << 8 | self.byte(), False
        if kind == ENCODED:
            return first & 0x3F, True
        if first == LENGTH_32:
            return int.from_bytes(self.read(4), "big"), False
        if first == LENGTH_64:
            return int.from_bytes(self.read(8), "big"), False
        raise self.corrupt(f"no length begins with {first:#x}")

    def _runs(self, count: int) -> Iterable[bytes]:
        """Yield the next count bytes in the runs in which they come."""
        while count:
            run = self._piece[self._position : self._position + count]
            if run:
                self._position += len(run)
                count -= len(run)
                yield run
            else:
                self._next_piece(count)

    def _next_piece(self, missing: int) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise self.corrupt(f"the end comes {missing} bytes too early")
        self._before += len(self._piece)
        self._piece = piece
        self._position = 0

    def _keep(self, data: bytes) -> None:
        assert self._record is not None  # noqa: S101 - for the type checker
        if len(self._record) + len(data) > self._record_limit:
            self._record = None
        else:
            self._record += data
