"""An object store in a directory: write, fsync, rename, fsync the folder.

Every path is walked one part at a time from the open root, so no symbolic link leads out of it. What is no object,
the folder of half-written files and the lock, is named with a `~`, which no object's name may hold.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from drtool.errors import ObjectMissing, Refused, StoreOutage, StoreUnavailable
from drtool.repository.storage.base import ObjectVersion, Rules
from drtool.repository.storage.names import check_name, check_prefix, folder_of, is_name

HALF_WRITTEN = "~tmp"
LOCK = "~lock"
WRITE_SIZE = (
    256 * 1024
)  # Linux takes large folios for large writes: a pack in one took three times the CPU time
STALE_S = 3600  # a put takes seconds: what is older belongs to a process that died

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hang the reader
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class DirectoryStore:
    """Objects as files below root, which must exist: a disk that is not mounted is not silently replaced.

    It keeps no versions. Files are 0600, folders 0700. No name may be a folder of another name.
    """

    def __init__(self, root: Path, clock: Callable[[], datetime]) -> None:
        self._root = root
        self._clock = clock
        self._durable: set[str] = set()  # folders whose entry in their parent was synced by us
        self._cleaned = False

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        check_name(name)
        if hashlib.sha256(value).digest() != sha256:
            raise StoreUnavailable(
                f"the bytes of {name} do not match their SHA-256; nothing was stored",
                hint="Check this machine's memory, and run it again.",
            )
        self._put(name, value)

    def put_named(self, prefix: str, value: bytes | bytearray | memoryview) -> bytes:
        digest = hashlib.sha256(value).digest()
        name = prefix + digest.hex()
        check_name(name)
        self._put(name, value)
        return digest

    def _put(self, name: str, value: bytes | bytearray | memoryview) -> None:
        with (
            self._translated(name),
            self._folder(f"{HALF_WRITTEN}/", create=True) as half_written,
            self._folder(folder_of(name), create=True) as folder,
        ):
            temporary = secrets.token_hex(16)
            try:
                self._write(temporary, half_written, value)
                os.rename(temporary, _last(name), src_dir_fd=half_written, dst_dir_fd=folder)
            except BaseException:
                _unlink(temporary, half_written)
                raise
            os.fsync(folder)

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        if version is not None:
            raise ObjectMissing(f"object {name} has no version {version}: a directory keeps none")
        with (
            self._translated(name),
            self._folder(folder_of(name)) as folder,
            os.fdopen(os.open(_last(name), _OLD_FILE, dir_fd=folder), "rb") as file,
        ):
            file.seek(start)
            return file.read(length)

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        """As promised by ObjectStore. Holds the names of one folder of each level in memory."""
        check_prefix(prefix)
        with (
            suppress(ObjectMissing),  # a folder that is not there holds nothing
            self._translated(prefix),
            self._folder(folder_of(prefix)) as folder,
        ):
            yield from self._walk(folder, folder_of(prefix), prefix)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        return self.list(prefix)

    def delete(self, name: str, version: str | None = None) -> None:
        check_name(name)
        if version is not None:
            return
        with (
            suppress(ObjectMissing),
            self._translated(name),
            self._folder(folder_of(name)) as folder,
        ):
            os.unlink(_last(name), dir_fd=folder)
            os.fsync(folder)

    def rules(self) -> Rules:
        return Rules()

    def now(self) -> datetime:
        return self._clock()

    def close(self) -> None:
        """Hold nothing open."""

    @contextmanager
    def lock(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the store's lock: writers share it, prune holds it alone. It ends with the process at the latest.

        Raises StoreOutage at once if another process is in the way. Where the file system has no locks, writers
        go on without one, and exclusive raises Refused.
        """
        with self._translated(LOCK), self._folder("") as root:
            file = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=root)
        try:
            self._flock(file, exclusive=exclusive)
            yield
        finally:
            os.close(file)

    def _flock(self, file: int, *, exclusive: bool) -> None:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            other = "a backup or a prune" if exclusive else "a prune"
            raise StoreOutage(
                f"{self._root} is locked by another process",
                hint=f"Wait until {other} has ended, and try again.",
            ) from cause
        except OSError as cause:
            if cause.errno not in _NO_LOCKS:
                raise StoreUnavailable(
                    f"cannot lock {self._root}: {cause.strerror}",
                    hint="See to the file system and its rights.",
                ) from cause
            if exclusive:
                raise Refused(
                    f"the file system of {self._root} has no locks, so backups cannot be kept out",
                    hint="Move the repository to a file system where flock works, or to S3.",
                ) from cause

    @contextmanager
    def _folder(self, name: str, *, create: bool = False) -> Iterator[int]:
        """Open the folder name, empty or with a final `/`, below the root; create makes it durable too."""
        try:
            opened = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as cause:
            raise StoreUnavailable(
                f"directory {self._root} is not there",
                hint="Create it, mount the disk that holds it, or correct the repository's url.",
            ) from cause
        try:
            path = ""
            for part in name.split("/")[:-1]:
                path += f"{part}/"
                if create:
                    self._make(part, opened, path)
                below = self._enter(part, opened, path)
                os.close(opened)
                opened = below
            yield opened
        finally:
            os.close(opened)

    def _enter(self, part: str, parent: int, path: str) -> int:
        try:
            return os.open(part, _FOLDER, dir_fd=parent)
        except NotADirectoryError as cause:
            if stat.S_ISLNK(os.stat(part, dir_fd=parent, follow_symlinks=False).st_mode):
                raise self._symbolic_link(path) from cause
            raise

    def _symbolic_link(self, path: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._root / path} is a symbolic link, and none is followed",
            hint="Put the folder itself there, or mount its file system there.",
        )

    def _make(self, part: str, parent: int, path: str) -> None:
        try:
            os.mkdir(part, 0o700, dir_fd=parent)
        except FileExistsError:
            if path in self._durable:
                return
        os.fsync(parent)  # also for a folder that another process made, and may not have synced yet
        self._durable.add(path)

    def _write(self, temporary: str, folder: int, value: bytes | bytearray | memoryview) -> None:
        with os.fdopen(os.open(temporary, _NEW_FILE, 0o600, dir_fd=folder), "wb", buffering=0) as file:
            rest = memoryview(value).cast("B")
            while rest:
                rest = rest[file.write(rest[:WRITE_SIZE]) :]
            os.fsync(file.fileno())
            now = os.fstat(file.fileno()).st_mtime
        if not self._cleaned:
            self._cleaned = True
            _clean(folder, now - STALE_S)

    def _walk(self, folder: int, path: str, prefix: str) -> Iterator[ObjectVersion]:
        """Yield the objects below the open folder. A folder sorts with its `/`, so whole names come in order."""
        with os.scandir(folder) as entries:
            children = sorted(
                (path + entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in entries
            )
        for child, entry in children:
            if not child.startswith(prefix) or not is_name(child.removesuffix("/")):
                continue
            if entry.is_symlink():
                raise self._symbolic_link(child)
            if child.endswith("/"):
                below = os.open(entry.name, _FOLDER, dir_fd=folder)
                try:
                    yield from self._walk(below, child, prefix)
                finally:
                    os.close(below)
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # deleted since the folder was read
                    found = entry.stat(follow_symlinks=False)
                    yield ObjectVersion(child, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as cause:
            raise ObjectMissing(f"object {name} is not in {self._root}") from cause
        except OSError as cause:
            if cause.errno in _FULL:
                raise StoreUnavailable(
                    f"no space is left in {self._root} for {name}: {cause.strerror}",
                    hint="Free space on that file system, or raise the quota; what is stored is untouched.",
                ) from cause
            raise StoreUnavailable(
                f"cannot reach {name} in {self._root}: {cause.strerror}",
                hint="See that its owner runs drtool, and that nothing but folders and files lies in it.",
            ) from cause


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _clean(folder: int, before: float) -> None:
    """Delete the half-written files of dead processes: those last written before, in seconds of the epoch."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    _unlink(entry.name, folder)
