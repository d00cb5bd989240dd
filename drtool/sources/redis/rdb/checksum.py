"""Watches an RDB pass by: how it begins, how it ends, how long it is, and whether its checksum fits."""

from dataclasses import dataclass, field

from drtool.errors import Corrupt
from drtool.sources.redis.rdb.crc64 import crc64
from drtool.sources.redis.rdb.parser import EOF, FOOTER, MAGIC, Head, read_head

LONGEST_HEAD = 64 * 1024  # bytes; a server writes some hundred
UNVERIFIED = "none"


@dataclass(slots=True)
class Checksum:
    """The running checksum of one RDB. Feed it all bytes in order, then ask for finish()."""

    size: int = 0
    head: Head | None = None
    _crc: int = 0
    _start: bytes = b""
    _end: bytes = field(default=b"")

    def update(self, data: bytes) -> None:
        """Take the next bytes. Raises Corrupt as soon as they cannot be an RDB."""
        self._crc = crc64(data, self._crc)
        self.size += len(data)
        self._end = (self._end + data[-FOOTER - 1 :])[-FOOTER - 1 :]
        if self.head is None:
            self._start += data[: LONGEST_HEAD - len(self._start)]
            if not MAGIC.startswith(self._start[: len(MAGIC)]):
                raise Corrupt("what came does not begin as an RDB")
            self.head = read_head(self._start)

    def finish(self) -> str:
        """Return the RDB's own checksum, 16 hex digits, or "none" where its server computes none.

        Raises Corrupt where it does not fit, or the RDB is not whole.
        """
        if self.head is None or self._end[:1] != bytes([EOF]) or len(self._end) <= FOOTER:
            raise Corrupt(f"the RDB breaks off after {self.size} bytes", hint="Take another recovery point.")
        footer = int.from_bytes(self._end[1:], "little")
        if not footer:
            return UNVERIFIED
        if self._crc:
            raise Corrupt("the RDB's checksum does not fit its bytes", hint="Take another recovery point.")
        return f"{footer:016x}"
