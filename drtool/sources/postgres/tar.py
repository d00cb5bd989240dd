"""A tar stream into members, read once and never held: what PostgreSQL sends in a base backup.

PostgreSQL: src/port/tar.c, tarCreateHeader: ustar with names of at most 99 bytes, octal or base-256 numbers, and no
other kinds than files, directories and symbolic links. Everything else is refused rather than guessed.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from drtool.errors import SourceUnavailable
from drtool.sources.base import ArtifactKind

BLOCK = 512  # bytes; headers and contents are padded to it
_KINDS: dict[bytes, ArtifactKind] = {b"0": "file", b"\0": "file", b"5": "directory", b"2": "symlink"}
_END = bytes(BLOCK)
_HINT = "Look into the server's log, and whether something changes the data between here and there."


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the archive: a relative path, its size in bytes, permission bits, seconds since 1970."""

    path: str
    kind: ArtifactKind
    size: int
    mode: int
    mtime: int
    target: str = ""


def read_members(pieces: Iterable[memoryview]) -> Iterator[tuple[Member, Iterator[memoryview]]]:
    """Yield each member with its content, to be read before the next one is asked for; the rest is skipped.

    pieces are the archive in any cut. Raises SourceUnavailable if it is no tar archive, or ends early.
    """
    window = _Window(iter(pieces))
    while (header := window.take(BLOCK)) != _END:
        member = _parse(header)
        content = window.pieces(member.size)
        yield member, content
        deque(content, maxlen=0)
        window.take(-member.size % BLOCK)
    for rest in window.remainder():
        if rest.strip(b"\0"):
            raise SourceUnavailable("the base backup has bytes after the end of a tar archive", hint=_HINT)


class _Window:
    """Takes exact lengths out of pieces of any length, without joining what need not be joined."""

    def __init__(self, source: Iterator[memoryview]) -> None:
        self._source = source
        self._rest = memoryview(b"")

    def pieces(self, length: int) -> Iterator[memoryview]:
        """Yield length bytes as they come. Raises SourceUnavailable if there are fewer."""
        while length:
            piece: memoryview | None = self._rest or next(self._source, None)
            if piece is None:
                raise SourceUnavailable("the base backup ended inside a tar archive", hint=_HINT)
            self._rest = piece[length:]
            wanted = piece[:length]
            length -= len(wanted)
            yield wanted

    def take(self, length: int) -> bytes:
        return b"".join(self.pieces(length))

    def remainder(self) -> Iterator[bytes]:
        yield bytes(self._rest)
        yield from map(bytes, self._source)


def _parse(header: bytes) -> Member:
    if sum(header[:148]) + 8 * ord(" ") + sum(header[156:]) != _number(header[148:156]):
        raise SourceUnavailable("the base backup has a damaged tar header", hint=_HINT)
    kind = _KINDS.get(header[156:157])
    if kind is None or header[257:262] != b"ustar":
        raise SourceUnavailable(
            f"the base backup has a tar entry of unknown type {header[156:157]!r}", hint=_HINT
        )
    name = _text(header[:100])
    prefix = _text(header[345:500])
    return Member(
        path=_relative(f"{prefix}/{name}" if prefix else name),
        kind=kind,
        size=_number(header[124:136]) if kind == "file" else 0,
        mode=_number(header[100:108]) & 0o7777,
        mtime=_number(header[136:148]),
        target=_text(header[157:257]),
    )


def _number(field: bytes) -> int:
    """Return a number of a tar header: octal digits, or base 256 where the top bit of the first byte is set."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
    try:
        return int(field.strip(b"\0 ") or b"0", 8)
    except ValueError as cause:
        raise SourceUnavailable("the base backup has a damaged tar header", hint=_HINT) from cause


def _text(field: bytes) -> str:
    name = field.split(b"\0", 1)[0]
    try:
        return name.decode()
    except UnicodeDecodeError as cause:
        raise SourceUnavailable(
            f"the data directory holds a file whose name is not UTF-8: {name!r}",
            hint="PostgreSQL makes no such file: remove or rename it on the server.",
        ) from cause


def _relative(name: str) -> str:
    """Return name without `./` and a trailing slash. Raises for one that would lead out of the directory."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path == PurePosixPath():
        raise SourceUnavailable(
            f"the base backup names a file outside of the data directory: {name!r}", hint=_HINT
        )
    return str(path)
