"""Proofs of a restored tree: walked again, every file read from its disk and hashed, all held against the capture."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from drtool.errors import NotProven, SourceUnavailable
from drtool.sources.base import STREAM_CHUNK, Entry, Json, Proof
from drtool.sources.files.content import data_between, opened
from drtool.sources.files.entries import describe, kind_of
from drtool.sources.files.faults import unreadable
from drtool.sources.files.metadata import OWNER, SET_ID, Metadata
from drtool.sources.files.names import shown, to_text
from drtool.sources.files.restore import Restored
from drtool.sources.files.trailer import Trailer
from drtool.sources.files.walk import Seen, Walk

_TOLD: Final = 3  # differences that a proof names


def prove(directory: Path, entries: Sequence[Entry], restored: Restored) -> Iterator[Proof]:
    """Yield the proofs of a restored tree. Raises NotProven where it cannot be read again."""
    comparison = _Comparison(entries, restored)
    try:
        with Walk(directory) as walk:
            for seen in walk:
                _compare(comparison, seen)
    except SourceUnavailable as fault:
        raise NotProven(
            f"{directory} is restored, but cannot be read again: {fault.message}",
            hint=f"{fault.hint} As root everything can be read.",
        ) from fault
    yield from comparison.proofs()


def _compare(comparison: "_Comparison", seen: Seen) -> None:
    try:
        comparison.compare(seen)
    except OSError as cause:
        raise unreadable(seen.path, cause, seen.status) from cause


class _Comparison:
    """What the target holds against the entries, file by file."""

    def __init__(self, entries: Sequence[Entry], restored: Restored) -> None:
        self._entries: Mapping[str, Entry] = {each.path: each for each in entries}
        self._restored = restored
        self._inodes: dict[str, int] = {}
        self._left = {each.path for each in entries if not _is_unset_special(each, restored.metadata)}
        self._expected = len(self._left)
        self._more: list[str] = []
        self._content: list[str] = []
        self._metadata: list[str] = []
        self._hashed = 0

    def compare(self, seen: Seen) -> None:
        """Hold one file of the target against its entry."""
        path = to_text(os.fsencode(seen.path))
        if path not in self._left:
            self._more.append(path)
            return
        self._left.discard(path)
        entry = self._entries[path].entry
        if entry["type"] == "hardlink":
            self._compare_link(path, entry, seen)
        elif kind_of(seen.status) != entry["type"]:
            self._metadata.append(path)
        else:
            actual = describe(seen)
            if actual != _expected(path, entry, actual, self._restored.metadata):
                self._metadata.append(path)
            if entry["type"] == "file":
                self._compare_content(path, seen)

    def _compare_link(self, path: str, entry: Json, seen: Seen) -> None:
        if self._inodes.get(entry["to"]) != seen.status.st_ino:
            self._content.append(path)

    def _compare_content(self, path: str, seen: Seen) -> None:
        self._hashed += 1
        if seen.status.st_nlink > 1:
            self._inodes[path] = seen.status.st_ino
        trailer = self._restored.trailers.get(path)
        if seen.status.st_size != (trailer.length if trailer else 0):
            self._content.append(path)
        elif trailer is not None:
            with opened(seen) as (handle, _):
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)  # what counts is what the disk has
                if not _is_what_was_captured(handle, trailer):
                    self._content.append(path)

    def proofs(self) -> Iterator[Proof]:
        """Yield the proofs, once the whole target was compared."""
        there = self._expected - len(self._left)
        found = f"{there}{_named('missing', sorted(self._left))}{_named('more', self._more)}"
        yield Proof(
            "every entry, and nothing else", not self._left and not self._more, f"{self._expected}", found
        )
        right = self._hashed - len(self._content)
        yield Proof(
            "SHA-256 of every file",
            not self._content,
            f"{self._hashed} files as captured",
            f"{right}{_named('other', self._content)}",
        )
        alike = there - len(self._metadata)
        yield Proof(
            "owners, modes, times, attributes, links",
            not self._metadata,
            f"{there} as captured",
            f"{alike}{_named('other', self._metadata)}",
        )


def _is_unset_special(each: Entry, metadata: Metadata) -> bool:
    return metadata.unset.has(each.entry["type"], each.path)


def _expected(path: str, entry: Json, actual: Json, metadata: Metadata) -> Json:
    """Return what describe shall say of path: its entry, but for what could not be given back, which stays as it is."""
    unset = metadata.unset
    expected = {**entry, **dict(zip(("uid", "gid"), metadata.owner_of(entry), strict=True))}
    if unset.has(OWNER, path):
        expected |= {"uid": actual["uid"], "gid": actual["gid"], "mode": entry["mode"] & ~SET_ID}
    for what, field in (("mode", "mode"), ("times", "mtime")):
        if unset.has(what, path):
            expected[field] = actual[field]
    attributes = {
        name: value
        for name, value in entry.get("xattrs", {}).items()
        if not unset.has(f"attribute {name}", path)
    }
    expected.pop("xattrs", None)
    return expected | ({"xattrs": attributes} if attributes else {})


def _is_what_was_captured(handle: int, trailer: Trailer) -> bool:
    """Return whether the data hashes to what was captured, and everything between is zero."""
    digest, end = hashlib.sha256(), 0
    for offset, length in (*trailer.extents, (trailer.length, 0)):
        if any(data.strip(b"\0") for data in data_between(handle, end, offset)):
            return False
        end = offset + length
        for at in range(offset, end, STREAM_CHUNK):
            digest.update(os.pread(handle, min(STREAM_CHUNK, end - at), at))
    return digest.digest() == trailer.sha256


def _named(what: str, paths: Sequence[str]) -> str:
    """Return how many there are, and which, as far as one line holds them."""
    if not paths:
        return ""
    more = ", …" if len(paths) > _TOLD else ""
    return f"; {len(paths)} {what}: {', '.join(map(shown, paths[:_TOLD]))}{more}"
