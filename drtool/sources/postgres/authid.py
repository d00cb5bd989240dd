"""The superuser's name, read from the files of a data directory: a server is asked as a role, and lets none be guessed.

Of pg_authid only what PostgreSQL 12 to 18 have alike is read: where it lies (relmapper.c), its pages (bufpage.h), and
the columns that it begins with.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BOOTSTRAP_ROLE: Final = 10  # pg_authid.dat: the superuser that initdb made, whatever its name
_PG_AUTHID: Final = 1260
_NAME_SIZE: Final = 64

_MAP_HEAD = struct.Struct("=ii")  # magic, number of mappings
_MAPPING = struct.Struct("=II")  # relation, file
_PAGE_HEAD = struct.Struct("=8xHHHHHH4x")  # checksum, flags, lower, upper, special, size and version
_ITEM = struct.Struct("=I")  # offset: 15 bits, flags: 2, length: 15
_IN_USE: Final = 1
_HEAD_SIZE_AT: Final = 22  # in a tuple
_ROW = struct.Struct(f"=I{_NAME_SIZE}s")  # oid, rolname


def superuser_names(directory: Path) -> list[str]:
    """Return what initdb's superuser is called, and may have been called before: versions of its row, newest last.

    Which of them is in force only the server knows. Nothing is found where the files are of another layout.
    """
    try:
        content = (directory / "global" / str(_file_of(directory))).read_bytes()
        names = [name for page in _pages(content) for oid, name in _rows(page) if oid == BOOTSTRAP_ROLE]
    except (OSError, struct.error, IndexError):
        return []
    return list(dict.fromkeys(name.rstrip(b"\0").decode(errors="replace") for name in names))


def _file_of(directory: Path) -> int:
    """Return the file of pg_authid, which a VACUUM FULL gives another number."""
    content = (directory / "global" / "pg_filenode.map").read_bytes()
    count = _MAP_HEAD.unpack_from(content)[1]
    mapped = content[_MAP_HEAD.size : _MAP_HEAD.size + count * _MAPPING.size]
    files: dict[int, int] = dict(_MAPPING.iter_unpack(mapped))
    return files.get(_PG_AUTHID, _PG_AUTHID)


def _pages(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        size = _PAGE_HEAD.unpack_from(content, at)[-1] & 0xFF00
        if not size:  # a page that was never written to
            return
        yield content[at : at + size]
        at += size


def _rows(page: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield oid and name of each version of a row that a page still holds."""
    lower = _PAGE_HEAD.unpack_from(page)[2]
    for (item,) in _ITEM.iter_unpack(page[_PAGE_HEAD.size : lower]):
        if item >> 15 & 3 == _IN_USE:
            at = item & 0x7FFF
            yield _ROW.unpack_from(page, at + page[at + _HEAD_SIZE_AT])
