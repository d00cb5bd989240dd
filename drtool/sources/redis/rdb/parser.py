"""An RDB, read through as a stream: its head, then one record a key. Memory does not grow with the RDB.

Redis: src/rdb.c, rdbLoadRio; src/rdb.h for the opcodes. Versions 9 (Redis 6.2), 10 (7.0) and 11 (7.2).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from drtool.errors import Corrupt, NotProven
from drtool.sources.redis.rdb.reader import Reader
from drtool.sources.redis.rdb.values import Kind, kind_of, module_data, skip

NEWEST = 11
MAGIC = b"REDIS"
FOOTER = 8  # bytes; the CRC-64, or 0 where the server does not compute it

(
    FUNCTION2,
    FUNCTION_PRE_GA,
    MODULE_AUX,
    IDLE,
    FREQUENCY,
    AUX,
    RESIZE_DB,
    EXPIRE_MS,
    EXPIRE_S,
    SELECT_DB,
    EOF,
) = range(245, 256)


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the data: the RDB's version, and what the server wrote about itself."""

    version: int
    aux: dict[str, str]

    @property
    def ctime(self) -> int | None:
        """The moment of the fork: seconds since 1970, by the server's clock, rounded down."""
        text = self.aux.get("ctime", "")
        return int(text) if text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Record:
    """One key. expires_ms is since 1970, or None. value is type code and serialized bytes, where it was wanted."""

    db: int
    kind: Kind
    key: bytes
    expires_ms: int | None
    value: bytes | None = None


@dataclass(slots=True)
class Rdb:
    """An RDB being read. head and functions are complete once records has been read to its end."""

    stream: Iterable[bytes]
    wanted_size: Callable[[Record], int] = lambda _record: 0
    head: Head = field(default_factory=lambda: Head(0, {}))
    functions: list[bytes] = field(default_factory=list)

    def records(self) -> Iterator[Record]:
        """Yield every key, in the order of the RDB. Raises Corrupt where it breaks the format.

        wanted_size says of each record up to how many bytes of its value are to be kept; 0 for none.
        Raises NotProven for what only a module or a newer drtool can read.
        """
        reader = Reader(self.stream)
        version = _version(reader)
        if version > NEWEST:
            raise NotProven(
                f"RDB version {version} is newer than this drtool knows ({NEWEST})",
                hint="Use a newer drtool.",
            )
        self.head = Head(version, {})
        db = 0
        expires_ms: int | None = None
        while (code := reader.byte()) != EOF:
            if code == SELECT_DB:
                db = reader.length()
            elif code == EXPIRE_MS:
                expires_ms = reader.integer(8, signed=True)
            elif code == EXPIRE_S:
                expires_ms = reader.integer(4, signed=True) * 1000
            elif code >= FUNCTION2:
                self._remark(reader, code)
            else:
                yield self._record(reader, db, code, expires_ms)
                expires_ms = None
        reader.skip(FOOTER)

    def _remark(self, reader: Reader, code: int) -> None:
        """Read what stands between the keys."""
        if code == AUX:
            name, value = reader.string(), reader.string()
            self.head.aux[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        elif code == FUNCTION2:
            self.functions.append(reader.string())
        elif code == RESIZE_DB:
            reader.length()
            reader.length()
        elif code == IDLE:
            reader.length()
        elif code == FREQUENCY:
            reader.skip(1)
        elif code == MODULE_AUX:
            raise module_data(reader)
        else:
            raise reader.corrupt("functions of a release candidate of Redis 7.0")

    def _record(self, reader: Reader, db: int, code: int, expires_ms: int | None) -> Record:
        record = Record(db, kind_of(reader, code), reader.string(), expires_ms)
        size = self.wanted_size(record)
        if size:
            reader.record(size)
        skip(reader, code)
        raw = reader.recorded()
        return record if raw is None else replace(record, value=bytes([code]) + raw)


def read_head(start: bytes) -> Head | None:
    """Return the head of an RDB from its first bytes, or None where they do not hold all of it yet."""
    reader = Reader([start])
    try:
        head = Head(_version(reader), {})
        while reader.byte() == AUX:
            name, value = reader.string(), reader.string()
            head.aux[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    except Corrupt:
        if reader.offset < len(start):
            raise
        return None
    return head


def _version(reader: Reader) -> int:
    magic, digits = reader.read(5), reader.read(4)
    if magic != MAGIC or not digits.isdigit() or int(digits) < 1:
        raise reader.corrupt("no RDB begins like this")
    return int(digits)
