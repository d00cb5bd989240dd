"""The files source: one walk over a directory, a span from its beginning to its end.

What is unchanged by size, mtime, ctime and inode since the previous point is referred to and not read. Every other file
is looked at again once it was read; one that changed meanwhile is read again, and named where that does not help.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from drtool.errors import SourceUnavailable
from drtool.sources.base import Artifact, Captured, Json, Previous, Reference
from drtool.sources.files.content import Content, opened
from drtool.sources.files.entries import NS_PER_S, describe, is_settled, kind_of, stat_record
from drtool.sources.files.faults import unreadable, vanished
from drtool.sources.files.names import to_text
from drtool.sources.files.walk import Seen, Walk

HELD: Final = (
    8 * 1024 * 1024
)  # a file up to this size is whole in memory before it is kept, and can be read again
ATTEMPTS: Final = 3
CHANGED, VANISHED, MOUNTS, SOCKETS = "changed while read", "vanished", "mount points", "sockets left out"
_NAMED: Final = 1000  # paths of one sort that the facts name; all are counted

_NOTES: Final = {
    CHANGED: "files changed while they were read, also when they were read again: kept as they were last read",
    VANISHED: "files were gone when their turn came",
    MOUNTS: "folders are mount points of other file systems, which were not entered",
    SOCKETS: "sockets were left out: only a running program can make them",
}


@dataclass(slots=True)
class _Met:
    """What the walk met: how many of each kind, and by name what a person should know of."""

    counts: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)

    def name(self, what: str, path: str) -> None:
        self.counts[what] += 1
        names = self.named.setdefault(what, [])
        if len(names) < _NAMED:
            names.append(to_text(os.fsencode(path)))


class FilesSource:
    """Captures a directory and all below it."""

    kind = "files"

    def __init__(self, root: Path, clock: Callable[[], datetime]) -> None:
        """Take the directory, a mounted claim say, and the clock by which the span is told."""
        self._root = root
        self._clock = clock

    def capture(self, previous: Previous | None) -> "FilesCapture":
        """Begin a capture. Contacts nothing yet."""
        return FilesCapture(self._root, self._clock, previous)


class FilesCapture:
    """A capture under way."""

    def __init__(self, root: Path, clock: Callable[[], datetime], previous: Previous | None) -> None:
        self._root = root
        self._clock = clock
        self._previous = previous
        self._walk = Walk(root)
        self._links: dict[bytes, str] = {}  # by stat record: an inode alone may be another file's by now
        self._met = _Met()
        self._begin: datetime | None = None
        self._end: datetime | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._walk.__exit__(*exc)

    def __iter__(self) -> Iterator[Artifact | Reference]:
        """Yield the tree, folders before what they hold. Raises SourceUnavailable at what cannot be read."""
        self._begin = self._clock()
        for seen in self._walk:
            try:
                yield from self._capture(seen)
            except OSError as cause:
                if not vanished(cause):
                    raise unreadable(seen.path, cause, seen.status) from cause
                self._met.name(VANISHED, seen.path)
        for what, paths in ((VANISHED, self._walk.left_out.vanished), (MOUNTS, self._walk.left_out.mounts)):
            for path in paths:
                self._met.name(what, path)
        self._refuse_unmounted()
        self._end = self._clock()

    def result(self) -> Captured:
        """Return the span of the walk, what it met by number, and by name what a person should know of."""
        if self._begin is None or self._end is None:
            raise SourceUnavailable("the tree was not walked to its end")
        facts = {"counts": dict(sorted(self._met.counts.items())), "named": self._met.named}
        return Captured(self._begin, self._end, facts)

    def _refuse_unmounted(self) -> None:
        """Raise when nothing is left of a tree that had files: so looks a volume that is not mounted."""
        had = self._previous.facts.get("counts", {}).get("file", 0) if self._previous else 0
        if had and sum(self._met.counts.values()) == 1:
            raise SourceUnavailable(
                f"{self._root} is empty, and its last point held {had} files",
                hint="Mount the volume there. If it was emptied on purpose, put one file into it.",
            )

    def _capture(self, seen: Seen) -> Iterator[Artifact | Reference]:
        kind = kind_of(seen.status)
        if kind == "file":
            yield from self._file(seen)
        elif kind == "socket":
            self._met.name(SOCKETS, seen.path)
        else:
            yield Artifact(_path(seen), describe(seen), size=0)
            self._met.counts[kind] += 1

    def _file(self, seen: Seen) -> Iterator[Artifact | Reference]:
        now_ns = int(self._clock().timestamp() * NS_PER_S)
        entry, stat = describe(seen), stat_record(seen.status)
        first = self._links.get(stat)
        if first is not None:
            yield Artifact(_path(seen), {"type": "hardlink", "to": first}, size=0)
            self._met.counts["hard link"] += 1
            return
        reference = self._unchanged(seen, entry, stat)
        if reference is not None:
            yield reference
            self._met.counts["unchanged"] += 1
        elif seen.status.st_size == 0:
            yield Artifact(_path(seen), entry, size=0)
        else:
            yield from self._read(seen, entry, stat if is_settled(seen.status, now_ns) else None)
        self._met.counts["file"] += 1
        if seen.status.st_nlink > 1:
            self._links[stat] = _path(seen)

    def _unchanged(self, seen: Seen, entry: Json, stat: bytes) -> Reference | None:
        if self._previous is None or seen.status.st_size == 0:
            return None
        return self._previous.unchanged(_path(seen), entry, stat)

    def _read(self, seen: Seen, entry: Json, stat: bytes | None) -> Iterator[Artifact]:
        """Yield a file that must be read. A small one is read again while it changes; a large one streams by once.

        Raises OSError when it is gone before a byte of it was handed out.
        """
        for attempt in range(1, ATTEMPTS + 1):
            with opened(seen) as (handle, now):
                if not _is_same(seen, now):
                    seen, stat = replace(seen, status=now), None
                    entry = describe(seen)
                content = Content(handle, seen)
                if content.data_size > HELD:
                    yield Artifact(_path(seen), entry, content, stat=stat)
                    if not _is_same(seen, os.fstat(handle)):
                        self._met.name(CHANGED, seen.path)
                    return
                data = b"".join(content)
            now = os.stat(seen.name, dir_fd=seen.folder, follow_symlinks=False)
            if not _is_same(seen, now):
                if attempt < ATTEMPTS:
                    continue
                self._met.name(CHANGED, seen.path)
            yield Artifact(_path(seen), entry, [data], len(data), stat=stat)
            return


def files_notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a person should see of a capture's facts, without any path: that is kept where no path may be."""
    counts = facts.get("counts", {})
    for what, told in _NOTES.items():
        if counts.get(what):
            yield f"{counts[what]} {told}"


def _path(seen: Seen) -> str:
    return to_text(os.fsencode(seen.path))


def _is_same(seen: Seen, status: os.stat_result) -> bool:
    return stat_record(status) == stat_record(seen.status)
