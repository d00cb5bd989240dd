"""What a source is: it captures one consistent point of a system, and puts it back. It knows no repository."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

Json = dict[str, Any]

KIB = 1024
RELATION_CHUNK = 128 * KIB  # PostgreSQL pages are 8 KiB: a multiple keeps every chunk on page boundaries
STREAM_CHUNK = 1024 * KIB  # everything else
STAT_SIZE = 32  # bytes of a stat record


@dataclass(slots=True)  # not frozen: there is one for every file, and that would take three times as long
class Artifact:
    """One named stream of a capture.

    path is unique in the capture, relative, `/`-separated. entry is what restore needs beside the bytes (type, mode,
    mtime, link target…): it is stored sealed. stream yields the bytes, read once, in order, and before the next
    artifact is asked for; a memoryview of it that cannot be written to is not changed by its owner either. size is in
    bytes where the source knows it beforehand. An entry without content (directory, link) has an empty stream and
    size 0. stat are STAT_SIZE bytes made of all that tells a change, where the next capture may trust that: it is
    kept beside the entries, and holds no byte of the application.
    """

    path: str
    entry: Json
    stream: Iterable[bytes | memoryview] = ()
    size: int | None = None
    chunk_size: int = STREAM_CHUNK
    stat: bytes | None = None


@dataclass(slots=True)
class Reference:
    """An artifact whose content is unchanged since the previous point: nothing is read, its places are used again.

    entry is made anew; stat is the record by which the content is known to be unchanged.
    """

    path: str
    entry: Json
    stat: bytes


@dataclass(frozen=True, slots=True)
class Captured:
    """What is known once a capture has ended well.

    start is the moment at which the work began; every byte belongs to a moment in [begin, end]; all are UTC by the
    source's clock where it has one. facts are plain JSON: positions, versions, counts, never application bytes.
    """

    begin: datetime
    end: datetime
    facts: Json


class Capture(Protocol):
    """A capture under way. Iterate to the end first, then ask for `result`; leave the context to let go."""

    def __enter__(self) -> "Capture": ...

    def __exit__(self, *exc: object) -> None: ...

    def __iter__(self) -> Iterator[Artifact | Reference]:
        """Yield the artifacts. Raises SourceUnavailable when the source ends early: what was read is then void."""
        ...

    def result(self) -> Captured:
        """Return what is known; only after the iteration has ended by itself."""
        ...


class Previous(Protocol):
    """What a source may ask about the previous point of its volume; supplied by operations."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The open facts of that point; none where there is no point."""
        ...

    def unchanged(self, path: str, entry: Json, stat: bytes) -> Reference | None:
        """Return a reference to path's content as it was, if its stat record is the same: the source yields that."""
        ...


@dataclass(frozen=True, slots=True)
class Proof:
    """A check that would fail if the data were wrong: what was expected, what was found."""

    name: str
    ok: bool
    expected: str
    actual: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a capture would meet, had it begun: which server or place, its size in bytes where that is cheap to tell."""

    what: str
    size: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a look at a source found, before anything is captured: for `drtool doctor`.

    hint is a sentence. mend holds the statements that put it right, in their order; where says who takes them: psql,
    redis-cli, shell, or the name of a file.
    """

    level: Literal["ok", "warning", "error"]
    message: str
    hint: str = ""
    mend: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One artifact of a stored point, on the way back: what it was, and how many bytes it holds."""

    path: str
    entry: Json
    size: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Plain, authenticated bytes of one artifact at one offset. Pieces arrive in any order."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where a restore writes: a directory that is empty or absent, owned by owner (uid, gid) where that is given."""

    directory: Path
    owner: tuple[int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


ArtifactKind = Literal["file", "directory", "symlink"]
