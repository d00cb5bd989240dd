"""A base backup back into a directory: pieces in any order, from any thread; pg_control last.

While it is not whole, the directory holds a marker and no pg_control, so no server can start on it.
"""

import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drtool.errors import Corrupt, DrtoolError, Refused
from drtool.sources.base import Entry, Piece, Target
from drtool.sources.postgres.configuration import written_here
from drtool.sources.postgres.layout import (
    BACKUP_LABEL,
    MARKER,
    PG_CONTROL,
    SERVERS_OWN,
    TABLESPACE_MAP,
    captured_tablespaces,
    checked_path,
    empty_directories,
    format_tablespace_map,
    linked_tablespaces,
    place_tablespaces,
)
from drtool.sources.room import Demand, refuse_small_disks

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
SPARE = 64 * 1024 * 1024  # bytes that stay free: logs, and what a server writes on its start
FSYNC_THREADS = 8
LATE_SUFFIX = ".drtool"


def restore_base(
    entries: Sequence[Entry], pieces: Iterable[Piece], target: Target, *, major: int, wal_bytes: int = 0
) -> dict[str, Path]:
    """Write a whole base backup into target and return where each tablespace went, by oid.

    wal_bytes is how much WAL is replayed. Raises Refused, with nothing touched, if the target is
    not empty or too small; Corrupt if a path leaves it, or bytes are missing.
    """
    writer = TargetWriter(target, major=major, wal_bytes=wal_bytes)
    writer.check(entries)
    writer.begin()
    for piece in pieces:
        writer.write(piece)
    return writer.finish()


class TargetWriter:
    """One restore under way: check and begin once, write from as many threads as you like, finish once.

    target.options["tablespace_map"] maps an oid, or a tablespace's captured place, to a new directory. Once that
    is checked, tablespaces are the places by oid, captured those that they had.
    """

    def __init__(self, target: Target, *, major: int, wal_bytes: int = 0) -> None:
        self._target = target
        self._directory = Path(os.path.abspath(target.directory))  # noqa: PTH100 -- links are not to be followed
        self._major = major
        self._wal_bytes = wal_bytes
        self.tablespaces: dict[str, Path] = {}
        self.captured: dict[str, str] = {}
        self._folders: list[str] = []
        self._sizes: dict[str, int] = {}
        self._has_begun = False
        self._written: Counter[str] = Counter()
        self._lock = threading.Lock()

    def check(self, entries: Sequence[Entry]) -> None:
        """Check everything that can be checked, and decide where each tablespace goes. Touches nothing."""
        for each in entries:
            checked_path(each.path)
            if each.entry["type"] == "symlink":
                raise Corrupt(f"the point has a link, {each.path}: a base backup has none but tablespaces")
        self._sizes = {each.path: each.size for each in entries if each.entry["type"] == "file"}
        missing = {BACKUP_LABEL, PG_CONTROL} - self._sizes.keys()
        if missing:
            raise Corrupt(
                f"the point has no {' and no '.join(sorted(missing))}: no recovery can begin from it"
            )
        self.captured = captured_tablespaces(entries)
        self.tablespaces = place_tablespaces(
            self._directory, self.captured, self._target.options.get("tablespace_map", {})
        )
        self._folders = [each.path for each in entries if each.entry["type"] == "directory"]
        self._check_empty()
        refuse_small_disks(self._demands())

    def begin(self) -> None:
        """Make directories, links and files of the right size."""
        self._check_empty()  # it is a while since that was looked at
        self._has_begun = True
        try:
            self._make_directories()
            for path, size in self._sizes.items():
                self._make_file(path, size)
        except OSError as cause:
            raise _failed(cause) from cause

    def write(self, piece: Piece) -> None:
        """Write one piece at its offset. Safe in several threads; a piece that comes twice is an error at the end."""
        if piece.path not in self._sizes:
            raise Corrupt(f"the point has bytes of {piece.path!r}, which is no file of it")
        if piece.offset < 0 or piece.offset + len(piece.data) > self._sizes[piece.path]:
            raise Corrupt(f"the point has bytes behind the end of {piece.path}")
        try:
            _write_at(self._place(piece.path), piece.data, piece.offset)
        except OSError as cause:
            raise _failed(cause) from cause
        with self._lock:
            self._written[piece.path] += len(piece.data)

    def undo(self) -> None:
        """Remove all that was written, also by a recovery that has ended. What others put there stays.

        The directories were empty, or not there, when it began.
        """
        if not self._has_begun:
            return
        paths = (*self._sizes, *self._folders, *empty_directories(self._major))
        ours = {path.partition("/")[0] for path in paths} | SERVERS_OWN | {*written_here(self._directory)}
        # those of the base, and those that the WAL makes, in directories that were found empty
        for place in {*linked_tablespaces(self._directory).values(), *self.tablespaces.values()}:
            for each in place.glob(f"PG_{self._major}_*"):
                shutil.rmtree(each)
        for name in sorted(ours, key=lambda name: name == MARKER):  # which says until the end what this is
            _remove(self._directory / name)

    def finish(self) -> dict[str, Path]:
        """Make the directory whole: all durable, then pg_control, then the marker goes. Return the tablespaces."""
        for path, size in self._sizes.items():
            if self._written[path] != size:
                raise Corrupt(f"{path} came back with {self._written[path]} of {size} bytes")
        try:
            if self.tablespaces:
                self._rewrite(TABLESPACE_MAP, format_tablespace_map(self.tablespaces))
            self._make_durable()
            self._place(PG_CONTROL).rename(self._directory / PG_CONTROL)
            _fsync(self._directory / "global")
            (self._directory / MARKER).unlink()
            _fsync(self._directory)
            _fsync(self._directory.parent)
        except OSError as cause:
            raise _failed(cause) from cause
        return dict(self.tablespaces)

    def _check_empty(self) -> None:
        for directory in (self._directory, *self.tablespaces.values()):
            if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
                raise Refused(f"{directory} is no directory", hint="Name an empty directory, or a new one.")
            if directory.is_dir() and any(directory.iterdir()):
                raise Refused(
                    f"{directory} is not empty" + (_what_lies_in(directory)),
                    hint="Restore into an empty directory, or a new one; drtool overwrites nothing.",
                )

    def _demands(self) -> Iterator[Demand]:
        """Yield what goes where: the WAL lies beside the directory until it is replayed into it."""
        names = {place: f"tablespace {oid}" for oid, place in self.tablespaces.items()}
        for path, size in self._sizes.items():
            root = self._root(path)[0]
            yield Demand(root, names.get(root, "the base backup"), size)
        yield Demand(self._directory.parent, "the WAL", self._wal_bytes)
        yield Demand(self._directory, "what its replay adds at most", self._wal_bytes)
        yield Demand(self._directory, "a server's start", SPARE)

    def _root(self, path: str) -> tuple[Path, str]:
        """Return the directory that holds path, its own tablespace's or the data directory, and the rest."""
        parts = path.split("/", 2)
        if parts[0] == "pg_tblspc" and len(parts) > 1 and parts[1] in self.tablespaces:
            return self.tablespaces[parts[1]], parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 -- head, oid, rest
        return self._directory, path

    def _place(self, path: str) -> Path:
        root, rest = self._root(path)
        return root / (rest + LATE_SUFFIX if path == PG_CONTROL else rest)

    def _make_directories(self) -> None:
        for root in (self._directory, *self.tablespaces.values()):
            root.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            root.chmod(DIRECTORY_MODE)
            self._own(root)
        self._rewrite(MARKER, b"This directory is not whole. Remove it, and restore again.\n")
        _fsync(self._directory)
        for path in (*empty_directories(self._major), *self._folders):
            self._make_directory(self._place(path))
        for oid, place in self.tablespaces.items():
            link = self._directory / "pg_tblspc" / oid
            link.symlink_to(place)
            self._own(link)

    def _make_directory(self, place: Path) -> None:
        if not place.is_dir():
            self._make_directory(place.parent)
            place.mkdir(mode=DIRECTORY_MODE)
            self._own(place)

    def _make_file(self, path: str, size: int) -> None:
        place = self._place(path)
        self._make_directory(place.parent)
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
            file.truncate(size)
        self._own(place)

    def _rewrite(self, path: str, content: bytes) -> None:
        place = self._directory / path
        place.touch(mode=FILE_MODE)
        place.write_bytes(content)
        self._own(place)

    def _own(self, place: Path) -> None:
        if self._target.owner is not None and os.geteuid() == 0:
            os.chown(place, *self._target.owner, follow_symlinks=False)

    def _make_durable(self) -> None:
        places = [place for root in (self._directory, *self.tablespaces.values()) for place in _below(root)]
        with ThreadPoolExecutor(FSYNC_THREADS) as pool:
            for _ in pool.map(_fsync, places):
                pass
        for place in self.tablespaces.values():
            _fsync(place.parent)


def _below(root: Path) -> Iterator[Path]:
    for directory, _, files in os.walk(root):
        yield from (Path(directory, name) for name in files)
        yield Path(directory)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _write_at(place: Path, data: bytes, offset: int) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            offset, rest = offset + written, rest[written:]
    finally:
        os.close(descriptor)


def _fsync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _what_lies_in(directory: Path) -> str:
    if (directory / "postmaster.pid").exists():
        return ": a PostgreSQL server may run on it"
    return ": an earlier restore did not end" if (directory / MARKER).exists() else ""


def _failed(cause: OSError) -> DrtoolError:
    return DrtoolError(
        f"cannot write {cause.filename or 'the target'}: {cause.strerror}",
        hint="What was written is removed again. See to its disk and your rights, and restore again.",
    )
