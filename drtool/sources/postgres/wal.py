"""WAL by name and by header: LSNs, segment names of any segment size, history files, page headers. Pure."""

import re
import struct
from dataclasses import dataclass
from mmap import mmap

from drtool.errors import Corrupt

Buffer = bytes | bytearray | memoryview | mmap

PAGE_SIZE = 8192  # XLOG_BLCKSZ; another one is a build of its own, and refused by check_segment_header
PAGE_MAGIC = {15: 0xD110, 16: 0xD113, 17: 0xD116, 18: 0xD118}

# xlp_magic, xlp_info, xlp_tli, xlp_pageaddr, xlp_rem_len, padded to 24 bytes
SHORT_HEADER = struct.Struct("<HHIQI4x")
# the same, then xlp_sysid, xlp_seg_size, xlp_xlog_blcksz
LONG_HEADER = struct.Struct("<HHIQI4xQII")

FIRST_IS_CONTRECORD = 0x0001
IS_LONG_HEADER = 0x0002
FIRST_IS_OVERWRITE_CONTRECORD = 0x0008
ALL_FLAGS = 0x000F

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY_LINE = re.compile(r"\s*(\d+)\s+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})\s*(.*)")


@dataclass(frozen=True, slots=True)
class PageHeader:
    """The header of one WAL page. The last three are of the long header, at a segment's start; else 0."""

    magic: int
    flags: int
    timeline: int
    address: int
    remaining: int
    system_identifier: int = 0
    segment_size: int = 0
    page_size: int = 0


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One line of a history file: timeline was left at switch_lsn, for reason."""

    timeline: int
    switch_lsn: int
    reason: str


def parse_lsn(text: str) -> int:
    """Return the byte position that text names, as in `16/B374D848`. Raises ValueError for anything else."""
    match = _LSN.fullmatch(text)
    if match is None:
        raise ValueError(f"not an LSN: {text!r}")
    return int(match[1], 16) << 32 | int(match[2], 16)


def format_lsn(lsn: int) -> str:
    """Return lsn as PostgreSQL up to 18 writes it: `16/B374D848`, no leading zeros."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def segment_start(lsn: int, segment_size: int) -> int:
    """Return the first byte of the segment that holds lsn; segment_size is in bytes, a power of two."""
    return lsn - lsn % segment_size


def segment_name(timeline: int, lsn: int, segment_size: int) -> str:
    """Return the WAL file name that holds lsn: timeline, log and segment, 8 upper-case hex digits each.

    segment_size is in bytes, a power of two. PostgreSQL: xlog_internal.h, XLogFileName.
    """
    per_log = 0x1_0000_0000 // segment_size
    number = lsn // segment_size
    return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"


def is_segment_name(name: str) -> bool:
    """Return whether name is that of a complete segment: 24 upper-case hex digits and nothing else."""
    return _SEGMENT.fullmatch(name) is not None


def parse_segment_name(name: str, segment_size: int) -> tuple[int, int]:
    """Return (timeline, LSN of the first byte) of a segment. Raises ValueError for any other name."""
    if not is_segment_name(name):
        raise ValueError(f"not the name of a WAL segment: {name!r}")
    timeline, log, segment = (int(name[at : at + 8], 16) for at in (0, 8, 16))
    if timeline == 0 or segment >= 0x1_0000_0000 // segment_size:
        raise ValueError(f"not a WAL segment of {segment_size} bytes: {name!r}")
    return timeline, (log << 32) + segment * segment_size


def history_name(timeline: int) -> str:
    """Return the name of the file that says where timeline comes from. Timeline 1 has none."""
    return f"{timeline:08X}.history"


def parse_history(timeline: int, content: bytes) -> tuple[Ancestor, ...]:
    """Return the ancestors of timeline, oldest first, from its history file. Raises Corrupt.

    Ids rise. Switch points need not: a recovery that stopped before its target timeline began writes that
    timeline into the history all the same. PostgreSQL: timeline.c, readTimeLineHistory.
    """
    name = history_name(timeline)
    ancestors: list[Ancestor] = []
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _HISTORY_LINE.fullmatch(line)
        if match is None:
            raise Corrupt(f"history file {name} has a line that PostgreSQL did not write: {line!r}")
        ancestors.append(Ancestor(int(match[1]), parse_lsn(match[2]), match[3]))
    timelines = [ancestor.timeline for ancestor in ancestors] + [timeline]
    if not ancestors or timelines != sorted(set(timelines)):
        raise Corrupt(f"history file {name} does not lead to timeline {timeline}")
    return tuple(ancestors)


def parse_page_header(data: Buffer, offset: int = 0) -> PageHeader:
    """Return the header of the WAL page at offset of data, long or short as its flags say.

    Raises ValueError if data is too short for it. What the header claims is not checked.
    """
    try:
        magic, flags, timeline, address, remaining = SHORT_HEADER.unpack_from(data, offset)
        if not flags & IS_LONG_HEADER:
            return PageHeader(magic, flags, timeline, address, remaining)
        return PageHeader(*LONG_HEADER.unpack_from(data, offset))
    except struct.error as error:
        raise ValueError("too short for a WAL page header") from error


def check_segment_header(
    data: Buffer,
    *,
    major: int,
    system_identifier: int,
    timeline: int,
    start: int,
    segment_size: int,
) -> None:
    """Raise Corrupt, naming the segment and the field, unless data begins as that segment must.

    data is the segment's beginning, 40 bytes or more; start is its first byte's LSN. The page may carry an
    older timeline: a timeline's first segment begins with a copy of the old one's.
    """
    name = segment_name(timeline, start, segment_size)
    try:
        header = parse_page_header(data)
    except ValueError as error:
        raise Corrupt(f"WAL segment {name} has no page header: {len(data)} bytes") from error
    if major not in PAGE_MAGIC:
        raise Corrupt(f"WAL segment {name} is of PostgreSQL {major}, whose page format is not known here")
    expected = {
        "page magic": (f"{PAGE_MAGIC[major]:#06x}", f"{header.magic:#06x}"),
        "long header": (True, bool(header.flags & IS_LONG_HEADER)),
        "system identifier": (system_identifier, header.system_identifier),
        "address": (format_lsn(start), format_lsn(header.address)),
        "segment size": (segment_size, header.segment_size),
        "page size": (PAGE_SIZE, header.page_size),
    }
    for field, (wanted, found) in expected.items():
        if wanted != found:
            raise Corrupt(f"WAL segment {name} has {field} {found}, expected {wanted}")
    if not 1 <= header.timeline <= timeline:
        raise Corrupt(f"WAL segment {name} has pages of timeline {header.timeline}")
