"""A tree back into an empty directory: all checked first, then content, links, and metadata; that of folders last.

What is not whole yet can be entered by nobody else, and is removed where the restore fails.
"""

import ctypes
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drtool.errors import Corrupt, Refused
from drtool.sources.base import Entry, Json, Piece, Target
from drtool.sources.files import trailer
from drtool.sources.files.faults import unwritable
from drtool.sources.files.layout import check_entries
from drtool.sources.files.metadata import Metadata, Unset
from drtool.sources.files.names import ROOT, shown
from drtool.sources.files.spread import spread_bytes, spread_file, write_at
from drtool.sources.files.trailer import Trailer
from drtool.sources.files.tree import Tree
from drtool.sources.files.walk import LOST_AND_FOUND
from drtool.sources.room import Demand, refuse_small_disks

_SPARE: Final = 16 * 1024 * 1024  # bytes for folders and metadata


@dataclass(frozen=True, slots=True)
class Restored:
    """What a proof holds the target against: the trailers of its files by path, and what could not be given back."""

    trailers: Mapping[str, Trailer]
    metadata: Metadata


def restore(entries: Sequence[Entry], pieces: Iterable[Piece], target: Target) -> Restored:
    """Write a tree into the target's directory. Pieces come in any order.

    Raises Refused, with nothing touched, if the directory holds something or the disk is too small; Corrupt if the
    point is not whole, or a path could lead out of the directory; DrtoolError if the disk refuses.
    """
    check_entries(entries)
    check_target(entries, target)
    existed = target.directory.exists()
    try:
        target.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with Tree(target.directory) as tree:
            return _write(tree, entries, pieces, target)
    except BaseException as cause:
        if not existed:
            with suppress(OSError):
                target.directory.rmdir()
        if isinstance(cause, OSError):
            raise unwritable(target.directory, cause) from cause
        raise


def undo(entries: Sequence[Entry], directory: Path) -> None:
    """Remove a tree that `restore` has written, and nothing else: what others put there stays.

    Raises OSError where something of it cannot be removed.
    """
    with suppress(OSError):  # it may have the mode of the point, which lets nobody write
        if not directory.is_symlink():
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) | stat.S_IRWXU)
    with Tree(directory) as tree:
        fault = tree.undo([each.path for each in entries if each.path != ROOT])
    if fault is not None:
        raise fault


def check_target(entries: Sequence[Entry], target: Target) -> None:
    """Return when the directory is empty, and there is room for entries. Touches nothing. Raises Refused."""
    directory = target.directory
    there = (
        sorted({path.name for path in directory.iterdir()} - {LOST_AND_FOUND}) if directory.exists() else []
    )
    if there:
        raise Refused(
            f"{directory} is not empty: it holds {shown(there[0])}",
            hint="Restore into an empty directory, or a new one; drtool overwrites nothing.",
        )
    nearest = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    room = os.statvfs(nearest)
    data = sum(entry.size for entry in entries)
    refuse_small_disks([Demand(directory, "the files", data), Demand(directory, "their names", _SPARE)])
    if room.f_files and len(entries) > room.f_favail:
        raise Refused(
            f"{nearest} has room for {room.f_favail} more files, and the point has {len(entries)}",
            hint="Restore onto a file system with more inodes.",
        )


def _write(tree: Tree, entries: Sequence[Entry], pieces: Iterable[Piece], target: Target) -> Restored:
    writer = _Writer(tree, entries, Metadata(target.owner, Unset()))
    try:
        writer.make_folders()
        for piece in pieces:
            writer.write(piece)
        return writer.finish()
    except BaseException:
        tree.undo(tree.made)
        raise


class _Writer:
    """One restore under way."""

    def __init__(self, tree: Tree, entries: Sequence[Entry], metadata: Metadata) -> None:
        self._tree = tree
        self._entries = entries
        self._metadata = metadata
        self._files = {each.path: each for each in entries if each.entry["type"] == "file"}
        self._missing = {path: each.size for path, each in self._files.items() if each.size}
        self._trailers: dict[str, Trailer] = {}
        self._in_pieces: dict[str, None] = {}

    def make_folders(self) -> None:
        """Make all folders; they come before what they hold."""
        for each in self._entries:
            if each.entry["type"] == "directory" and each.path != ROOT:
                self._tree.make_folder(each.path)

    def write(self, piece: Piece) -> None:
        """Write one piece at its offset. A file that comes in one piece is done at once."""
        missing = self._missing.get(piece.path, 0)
        if piece.offset < 0 or len(piece.data) > missing:
            raise Corrupt(f"the point has bytes of {shown(piece.path)} that are none of its own")
        self._missing[piece.path] = missing - len(piece.data)
        if len(piece.data) == self._files[piece.path].size:
            with self._tree.new_file(piece.path) as handle:
                end = trailer.decode_end(piece.data)
                spread_bytes(handle, piece.data, end)
                self._done(piece.path, handle, end)
            return
        if piece.path not in self._in_pieces:
            self._in_pieces[piece.path] = None
            with self._tree.new_file(piece.path):
                pass
        with self._tree.open(piece.path, os.O_WRONLY) as handle:
            write_at(handle, piece.data, piece.offset)

    def finish(self) -> Restored:
        """Make whole what came in pieces, then links and special files, then the folders from the lowest up."""
        short = next((path for path, missing in self._missing.items() if missing), None)
        if short is not None:
            raise Corrupt(f"{shown(short)} came back {self._missing[short]} bytes short of its size")
        for path in self._in_pieces:
            self._finish_file(path)
        for each in self._entries:
            self._make(each.path, each.entry, each.size)
        for each in reversed(self._entries):
            if each.entry["type"] == "directory":
                with self._tree.open(each.path, os.O_DIRECTORY) as handle:
                    self._metadata.give(handle, each.path, each.entry)
        _make_durable(self._tree.root)
        return Restored(self._trailers, self._metadata)

    def _finish_file(self, path: str) -> None:
        """Cut the trailer off a file that came in pieces; one with holes is spread into a new file."""
        size = self._files[path].size
        with self._tree.open(path, os.O_RDWR) as handle:
            count = trailer.trailer_size(os.pread(handle, trailer.SIZE, size - trailer.SIZE))
            end = trailer.decode(os.pread(handle, count, size - count), size)
            if not end.has_holes:
                os.ftruncate(handle, end.length)
                self._done(path, handle, end)
                return
            self._tree.remove(path)
            with self._tree.new_file(path) as whole:
                spread_file(handle, whole, end)
                self._done(path, whole, end)

    def _done(self, path: str, handle: int, end: Trailer) -> None:
        self._trailers[path] = end
        self._metadata.give(handle, path, self._files[path].entry)

    def _make(self, path: str, entry: Json, size: int) -> None:
        """Make what has no content of its own."""
        match entry["type"]:
            case "file" if not size:
                with self._tree.new_file(path) as handle:
                    self._metadata.give(handle, path, entry)
            case "symlink":
                self._tree.make_link(path, entry["target"])
                self._metadata.give_link(self._tree, path, entry)
            case "hardlink":
                self._tree.make_hard_link(path, entry["to"])
            case "fifo" | "character device" | "block device" as kind:
                self._make_special(path, entry, kind)

    def _make_special(self, path: str, entry: Json, kind: str) -> None:
        try:
            with self._tree.new_special(path, kind, entry.get("device", (0, 0))) as place:
                self._metadata.give(place, path, entry)
        except PermissionError:
            self._metadata.unset.add(kind, path)


def _make_durable(handle: int) -> None:
    """Return when all that was written to handle's file system is on its disk. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.syncfs(handle) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
