"""The files source: one walk over a directory, a span from its beginning to its end.

What is unchanged by size, mtime, ctime and inode since the previous point is referred to and not read. Every other file
is looked at again once it was read; one that changed meanwhile is read again, and named where that does not help.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from drtool.errors import SourceUnavailable
from drtool.sources.base import Artifact, Captured, Look, Previous, Reference
from drtool.sources.files.content import Content, has_holes, open_file, opened
from drtool.sources.files.entries import (
    NS_PER_S,
    add_attributes,
    describe,
    describe_status,
    is_settled,
    kind_of,
    stat_record,
)
from drtool.sources.files.faults import unreadable, vanished
from drtool.sources.files.names import text_of
from drtool.sources.files.trailer import encode_whole
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
            names.append(text_of(path))


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
        self._begin_ns = 0
        self._end: datetime | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._walk.__exit__(*exc)

    def look(self) -> Look:
        """Return where the tree is. Raises SourceUnavailable where it cannot be opened, or has lost all its files."""
        first = list(islice(self._walk, 2))  # the directory itself, and the first that it holds
        self._met.counts["seen"] = len(first)
        self._refuse_unmounted()
        return Look(f"the files below {self._root}")

    def __iter__(self) -> Iterator[Artifact | Reference]:
        """Yield the tree, folders before what they hold. Raises SourceUnavailable at what cannot be read."""
        self._begin = self._clock()
        self._begin_ns = _in_ns(self._begin)
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

    def _capture(self, seen: Seen) -> Iterable[Artifact | Reference]:
        kind = kind_of(seen.status)
        if kind == "file":
            return self._file(seen)
        if kind == "socket":
            self._met.name(SOCKETS, seen.path)
            return ()
        artifact = Artifact(text_of(seen.path), describe(seen), size=0)
        self._met.counts[kind] += 1
        return (artifact,)

    def _file(self, seen: Seen) -> Iterable[Artifact | Reference]:
        """Return what stands for a file. Most need no generator: one for every file costs as much as reading it."""
        path, stat = text_of(seen.path), stat_record(seen.status)
        first = self._links.get(stat) if seen.status.st_nlink > 1 else None
        if first is not None:
            self._met.counts["hard link"] += 1
            return (Artifact(path, {"type": "hardlink", "to": first}, size=0),)
        if seen.status.st_size == 0:
            found: Artifact | Reference | None = Artifact(path, describe(seen), size=0)
        else:
            found = self._unchanged(seen, path, stat) or self._read_at_once(seen, path, stat)
        if found is None:
            return self._read(seen, stat)
        self._count(seen, path, stat)
        return (found,)

    def _count(self, seen: Seen, path: str, stat: bytes) -> None:
        self._met.counts["file"] += 1
        if seen.status.st_nlink > 1:
            self._links[stat] = path

    def _unchanged(self, seen: Seen, path: str, stat: bytes) -> Reference | None:
        if self._previous is None:
            return None
        found = self._previous.unchanged(path, describe_status(seen.status), stat)
        if found is not None:
            add_attributes(found.entry, seen)
            self._met.counts["unchanged"] += 1
        return found

    def _trusted(self, seen: Seen, stat: bytes) -> bytes | None:
        """Return the stat record of a file that is read from now on, if a change would show in it."""
        if is_settled(seen.status, self._begin_ns) or is_settled(seen.status, _in_ns(self._clock())):
            return stat
        return None

    def _read_at_once(self, seen: Seen, path: str, stat: bytes) -> Artifact | None:
        """Return a file that is small, has no holes and stayed as it was; None for any other. Raises OSError."""
        size = seen.status.st_size
        if size > HELD or has_holes(seen.status):
            return None
        trusted = self._trusted(seen, stat)
        handle, now = open_file(seen)
        try:
            entry = describe(seen, handle)
            data = os.pread(handle, size, 0)
        finally:
            os.close(handle)
        whole = data + encode_whole(data)
        after = os.stat(seen.name, dir_fd=seen.folder, follow_symlinks=False)
        if len(data) != size or stat_record(now) != stat or stat_record(after) != stat:
            return None
        return Artifact(path, entry, (whole,), len(whole), stat=trusted)

    def _read(self, seen: Seen, found: bytes) -> Iterator[Artifact]:
        """Yield a file that must be read. A small one is read again while it changes; a large one streams by once.

        Raises OSError when it is gone before a byte of it was handed out.
        """
        path, stat = text_of(seen.path), self._trusted(seen, found)
        for attempt in range(1, ATTEMPTS + 1):
            with opened(seen) as (handle, now):
                if not _is_same(seen, now):
                    seen, stat = seen._replace(status=now), None
                entry = describe(seen, handle)
                content = Content(handle, seen)
                if content.data_size > HELD:
                    yield Artifact(path, entry, content, stat=stat)
                    if not _is_same(seen, os.fstat(handle)):
                        self._met.name(CHANGED, seen.path)
                    break
                data = b"".join(content)
            now = os.stat(seen.name, dir_fd=seen.folder, follow_symlinks=False)
            if not _is_same(seen, now):
                if attempt < ATTEMPTS:
                    continue
                self._met.name(CHANGED, seen.path)
            yield Artifact(path, entry, [data], len(data), stat=stat)
            break
        self._count(seen, path, found)


def files_notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a person should see of a capture's facts, without any path: that is kept where no path may be."""
    counts = facts.get("counts", {})
    for what, told in _NOTES.items():
        if counts.get(what):
            yield f"{counts[what]} {told}"


def _in_ns(moment: datetime) -> int:
    return int(moment.timestamp() * NS_PER_S)


def _is_same(seen: Seen, status: os.stat_result) -> bool:
    return stat_record(status) == stat_record(seen.status)
