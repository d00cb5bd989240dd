"""WAL record by record: each one checked, and where the last complete one ends.

PostgreSQL: src/backend/access/transam/xlogreader.c, XLogDecodeNextRecord. The checks are the same; what is
read are bytes in memory. An invalid record is no error: WAL ends where its next record is not valid.
"""

import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import google_crc32c

from drtool.sources.postgres.wal import (
    ALL_FLAGS,
    FIRST_IS_CONTRECORD,
    FIRST_IS_OVERWRITE_CONTRECORD,
    IS_LONG_HEADER,
    LONG_HEADER,
    PAGE_MAGIC,
    PAGE_SIZE,
    SHORT_HEADER,
    Buffer,
    PageHeader,
    format_lsn,
    parse_page_header,
)

# xl_tot_len, xl_xid, xl_prev, xl_info, xl_rmid, two of padding, xl_crc
_HEADER = struct.Struct("<IIQBB2xI")
_CRC_AT = 20
_LENGTH = struct.Struct("<I")
_MESSAGE = struct.Struct("<I?3xQQ")  # database, transactional, prefix size with its NUL, message size

RM_XLOG, RM_XACT, RM_TBLSPC, RM_LOGICALMSG = 0, 1, 5, 21
_XLOG_SWITCH, _XLOG_PARAMETER_CHANGE = 0x40, 0x60
_PARAMETERS = struct.Struct("<5ii")  # xl_parameter_change: five limits, then wal_level
_LEVEL_MINIMAL = 0
_TBLSPC_CREATE = 0x00
_TBLSPC_PATH_AT = 4  # behind the oid
_XACT_OPERATION = 0x70
_XACT_ENDS = frozenset({0x00, 0x20, 0x30, 0x40})  # commit, abort, and the same of a prepared transaction
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

# xlogrecord.h: what stands where a reference to a block has a number up to 32
_ORIGIN, _TOP_XID, _LONG_DATA, _SHORT_DATA = 253, 252, 254, 255


class Record(NamedTuple):
    """One valid record at lsn; the next may begin at end_lsn. body is all but its 24-byte header."""

    lsn: int
    end_lsn: int
    rmgr: int
    info: int
    xid: int
    body: bytes

    def main_data(self) -> memoryview:
        """Return the data of a record without block references, as those of transactions and messages are.

        Raises ValueError for a record that refers to blocks. PostgreSQL: xlogrecord.h.
        """
        body, at = memoryview(self.body), 0
        while at < len(body):
            if body[at] == _SHORT_DATA:
                return body[at + 2 : at + 2 + body[at + 1]]
            if body[at] == _LONG_DATA:
                return body[at + 5 : at + 5 + _LENGTH.unpack_from(body, at + 1)[0]]
            if body[at] not in (_ORIGIN, _TOP_XID):
                raise ValueError(f"the record at {format_lsn(self.lsn)} refers to blocks")
            at += 3 if body[at] == _ORIGIN else 5
        return body[:0]

    def transaction_end(self) -> datetime | None:
        """Return when the transaction ended that this record commits or aborts; None for any other record.

        These are the records at which a recovery to a time may stop.
        """
        if self.rmgr != RM_XACT or self.info & _XACT_OPERATION not in _XACT_ENDS:
            return None
        (microseconds,) = struct.unpack_from("<q", self.main_data())
        return _POSTGRES_EPOCH + timedelta(microseconds=microseconds)

    def new_tablespace(self) -> tuple[str, str] | None:
        """Return oid and directory of the tablespace that this record makes, None for any other record."""
        if self.rmgr != RM_TBLSPC or self.info & 0xF0 != _TBLSPC_CREATE:
            return None
        (oid,) = _LENGTH.unpack_from(data := self.main_data())
        place = bytes(data[_TBLSPC_PATH_AT:]).partition(b"\0")[0]
        return str(oid), place.decode("utf-8", "surrogateescape")

    def is_minimal(self) -> bool:
        """Tell whether this record says that the server goes on with wal_level = minimal: no recovery passes it."""
        if self.rmgr != RM_XLOG or self.info & 0xF0 != _XLOG_PARAMETER_CHANGE:
            return False
        *_, level = _PARAMETERS.unpack_from(self.main_data())
        return bool(level == _LEVEL_MINIMAL)

    def logical_message(self) -> tuple[str, bytes] | None:
        """Return (prefix, content) of a pg_logical_emit_message, None for any other record."""
        if self.rmgr != RM_LOGICALMSG:
            return None
        data = self.main_data()
        _, _, prefix_size, size = _MESSAGE.unpack_from(data)
        text = data[_MESSAGE.size + prefix_size : _MESSAGE.size + prefix_size + size]
        prefix = data[_MESSAGE.size : _MESSAGE.size + prefix_size - 1]
        return bytes(prefix).decode("utf-8", "replace"), bytes(text)


class _End(Exception):
    """There is no other record; says why."""


class _RangeEnd(_End):
    """There is no other record because there are no other bytes: what is there is whole."""


class RecordWalk:
    """The records of a contiguous range that begins at a segment's first byte. Iterate once, then ask.

    segments are the bytes, one buffer a segment, all whole but the last, which may end anywhere. The range may begin
    inside a record: that one is skipped. first, where it is given, is where a record is known to begin: all before it
    is skipped. During and after the iteration, end_lsn is the end of the last complete record (None before the first);
    after it, stopped says why there was no other, and is_whole whether that was only because the bytes end.
    """

    def __init__(
        self,
        segments: Sequence[Buffer],
        *,
        start: int,
        segment_size: int,
        major: int,
        system_identifier: int,
        first: int | None = None,
    ) -> None:
        if start % segment_size or any(len(segment) != segment_size for segment in segments[:-1]):
            raise ValueError("a walk begins at a segment's first byte; only its last segment may be short")
        self.start = start
        self.end = start + sum(len(segment) for segment in segments)
        self.end_lsn: int | None = None
        self.stopped = ""
        self.is_whole = False
        self._segments = segments
        self._segment_size = segment_size
        self._magic = PAGE_MAGIC[major]
        self._system_identifier = system_identifier
        self._timeline = 0
        self._previous: int | None = None
        self._first = first

    def __iter__(self) -> Iterator[Record]:
        """Yield the records; one at a time is copied out of its buffer."""
        try:
            at = self._first_record() if self._first is None else self._first
            while True:
                record = self._read(at)
                at, self._previous = record.end_lsn, record.lsn
                self.end_lsn = at
                yield record
        except _End as end:
            self.stopped = str(end)
            self.is_whole = isinstance(end, _RangeEnd)

    def _need(self, end: int) -> None:
        if end > self.end:
            raise _RangeEnd("the range ends")

    def _locate(self, lsn: int) -> tuple[Buffer, int]:
        """Return the segment that holds lsn, which is inside the range, and the place of lsn in it."""
        number, offset = divmod(lsn - self.start, self._segment_size)
        return self._segments[number], offset

    def _page(self, address: int) -> PageHeader:
        """Return the header of the page at address, which is the page that belongs there."""
        self._need(address + _header_size(address, self._segment_size))
        header = parse_page_header(*self._locate(address))
        fault = self._page_fault(header, address)
        if fault:
            raise _End(f"the page at {format_lsn(address)} {fault}")
        self._timeline = header.timeline
        return header

    def _page_fault(self, header: PageHeader, address: int) -> str:
        is_first = address % self._segment_size == 0
        if header.magic != self._magic:
            return f"has magic {header.magic:#06x}"
        if header.flags & ~ALL_FLAGS or bool(header.flags & IS_LONG_HEADER) != is_first:
            return f"has flags {header.flags:#06x}"
        if header.address != address:
            return f"is an old one of {format_lsn(header.address)}"
        if header.timeline < self._timeline:
            return f"goes back to timeline {header.timeline}"
        claims = (header.system_identifier, header.segment_size, header.page_size)
        is_ours = not is_first or claims == (self._system_identifier, self._segment_size, PAGE_SIZE)
        return "" if is_ours else "is of another instance"

    def _first_record(self) -> int:
        """Return where the first record begins that begins in the range, or its page if that is the same."""
        for address in range(self.start, self.end, PAGE_SIZE):
            header = self._page(address)
            if not header.flags & FIRST_IS_CONTRECORD:
                return address
            begin = address + _header_size(address, self._segment_size) + _aligned(header.remaining)
            if begin < address + PAGE_SIZE:
                return begin
        raise _RangeEnd("the range ends")

    def _read(self, at: int) -> Record:
        """Return the record at at, or behind the page's header if at is a page's first byte."""
        lsn = at
        if at % PAGE_SIZE == 0:
            if self._page(at).flags & FIRST_IS_CONTRECORD:
                raise _End(f"the page at {format_lsn(at)} continues a record that is not there")
            lsn += _header_size(at, self._segment_size)
        self._need(lsn + _LENGTH.size)
        view, offset = self._locate(lsn)
        (length,) = _LENGTH.unpack_from(view, offset)
        if length < _HEADER.size:
            raise _End(f"no record begins at {format_lsn(lsn)}")
        if lsn % PAGE_SIZE + length > PAGE_SIZE:
            return self._read_across(lsn, length)
        self._need(lsn + length)
        return self._checked(lsn, lsn + length, bytes(view[offset : offset + length]))

    def _read_across(self, lsn: int, length: int) -> Record:
        """Return the record at lsn that goes on over pages, or the one that took the place of its rest."""
        parts: list[bytes] = []
        at, missing = lsn, length
        while True:
            view, offset = self._locate(at)
            parts.append(bytes(view[offset : offset + min(missing, PAGE_SIZE - at % PAGE_SIZE)]))
            missing -= len(parts[-1])
            at += len(parts[-1])
            if not missing:
                return self._checked(lsn, at, b"".join(parts))
            self._need(at + 1)
            header = self._page(at)
            if header.flags & FIRST_IS_OVERWRITE_CONTRECORD:
                return self._read(at)  # the server died inside this record, and its successor says so
            if not header.flags & FIRST_IS_CONTRECORD or header.remaining != missing:
                raise _End(f"the record at {format_lsn(lsn)} does not go on")
            at += _header_size(at, self._segment_size)

    def _checked(self, lsn: int, end: int, data: bytes) -> Record:
        _, xid, previous, info, rmgr, crc = _HEADER.unpack_from(data)
        if google_crc32c.extend(google_crc32c.value(data[_HEADER.size :]), data[:_CRC_AT]) != crc:
            raise _End(f"the record at {format_lsn(lsn)} has a wrong checksum")
        if previous >= lsn if self._previous is None else previous != self._previous:
            raise _End(f"the record at {format_lsn(lsn)} does not follow the one before it")
        end_lsn = _aligned(end)
        if rmgr == RM_XLOG and info & 0xF0 == _XLOG_SWITCH:
            end_lsn += -end_lsn % self._segment_size
        return Record(lsn, end_lsn, rmgr, info, xid, data[_HEADER.size :])


def _header_size(address: int, segment_size: int) -> int:
    return SHORT_HEADER.size if address % segment_size else LONG_HEADER.size


def _aligned(position: int) -> int:
    return position + 7 & -8
