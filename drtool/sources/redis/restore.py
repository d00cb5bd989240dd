"""Seeds a data directory from an RDB, so that the server starts with the data whether its log is on or off.

All bytes go to a temporary name first; the RDB takes the server's names only when its checksum has been found good.
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from drtool.errors import Corrupt, Refused
from drtool.sources.base import STREAM_CHUNK, Entry, Json, Piece, Target
from drtool.sources.redis.layout import RDB_PATH, Layout
from drtool.sources.redis.rdb.checksum import Checksum
from drtool.sources.room import Demand, refuse_small_disks

TEMPORARY = ".drtool-restoring"
NOT_DATA = {"lost+found", TEMPORARY}  # what a new file system holds, and what a killed restore left


def restore(entries: Iterable[Entry], pieces: Iterable[Piece], target: Target) -> Json:
    """Write the artifacts into the target's directory, and return what is there: the files, and the checksum.

    options: version, flavour, appendonly (yes or no; both work if it is not given), dbfilename, appendfilename,
    appenddirname. They default to the captured server's. Where the log will stay off, say so: a base that nobody
    keeps up would be loaded by the first start with the log on.
    Raises Refused, with nothing touched, if the directory holds something, the target's server cannot read this
    RDB, or the disk is too small; Corrupt if the RDB is not what was captured: the directory is then as before.
    """
    by_path = {entry.path: entry for entry in entries}
    layout = check(by_path.values(), target)
    directory = target.directory
    existed = directory.exists()
    staging = directory / TEMPORARY
    try:
        _stage(by_path, pieces, staging)
        crc = _check_rdb(staging / RDB_PATH, by_path[RDB_PATH])
    except BaseException:
        shutil.rmtree(directory if not existed else staging, ignore_errors=True)
        raise
    files = _publish(staging, layout, by_path, directory)
    _hand_over(directory, target.owner)
    return {"files": sorted(files), "crc": crc}


def undo(entries: Iterable[Entry], target: Target) -> None:
    """Remove what `restore` wrote, as far as it came, and nothing else: what others put there stays.

    Raises OSError where something of it cannot be removed.
    """
    by_path = {entry.path: entry for entry in entries}
    layout, directory = Layout.of(by_path[RDB_PATH].entry["server"], target.options), target.directory
    if (directory / TEMPORARY).exists():
        shutil.rmtree(directory / TEMPORARY)
    logs = [layout.log, layout.manifest[0] if layout.manifest else None]
    for name in (*(path for path in by_path if path != RDB_PATH), layout.dbfilename, *filter(None, logs)):
        (directory / name).unlink(missing_ok=True)
    if layout.log and "/" in layout.log:
        with suppress(OSError):
            (directory / layout.log).parent.rmdir()


def check(entries: Iterable[Entry], target: Target) -> Layout:
    """Return the target's layout. Touches nothing; raises Refused."""
    by_path = {entry.path: entry for entry in entries}
    if RDB_PATH not in by_path:
        raise Refused("this point holds no RDB", hint="Choose a point of a Redis volume.")
    entry = by_path[RDB_PATH]
    layout = Layout.of(entry.entry["server"], target.options)
    if entry.entry["rdb_version"] > layout.newest_rdb:
        raise Refused(
            f"{layout.flavour} {'.'.join(map(str, layout.version))} cannot read RDB version "
            f"{entry.entry['rdb_version']}, only up to {layout.newest_rdb}",
            hint=f"Restore to {entry.entry['server']['flavour']} {entry.entry['server']['version']} or later.",
        )
    directory = target.directory
    there = sorted({path.name for path in directory.iterdir()} - NOT_DATA) if directory.exists() else []
    if there:
        raise Refused(
            f"{directory} is not empty: it holds {', '.join(there[:3])}", hint="Give an empty directory."
        )
    _check_room(by_path, layout, directory)
    return layout


def _check_room(by_path: dict[str, Entry], layout: Layout, directory: Path) -> None:
    log = by_path[RDB_PATH].size if layout.log and layout.log_is_written_in_place else 0
    data = sum(entry.size for entry in by_path.values())
    refuse_small_disks([Demand(directory, "the data", data), Demand(directory, "the log", log)])


def _stage(by_path: dict[str, Entry], pieces: Iterable[Piece], staging: Path) -> None:
    """Write all pieces, in whatever order they come, below staging. Every file is on disk when this returns."""
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)
    missing = {path: entry.size for path, entry in by_path.items()}
    handles = {
        path: os.open(_inside(staging, path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600) for path in by_path
    }
    try:
        for piece in pieces:
            if piece.offset + len(piece.data) > by_path[piece.path].size:
                raise Corrupt(f"{piece.path} goes on behind its end")
            _write_at(handles[piece.path], piece.data, piece.offset)
            missing[piece.path] -= len(piece.data)
        for handle in handles.values():
            os.fsync(handle)
    finally:
        for handle in handles.values():
            os.close(handle)
    for path, count in missing.items():
        if count:
            raise Corrupt(f"{path} came back {count} bytes short of its size")


def _inside(staging: Path, path: str) -> Path:
    if "/" in path or path in ("", ".", ".."):
        raise Corrupt(f"a Redis volume holds no {path!r}")
    return staging / path


def _write_at(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _check_rdb(path: Path, entry: Entry) -> str:
    """Read the whole RDB back and return its checksum. Raises Corrupt."""
    checksum = Checksum()
    with path.open("rb") as file:
        while data := file.read(STREAM_CHUNK):
            checksum.update(data)
    crc = checksum.finish()
    if checksum.head is None or checksum.head.version != entry.entry["rdb_version"]:
        raise Corrupt("the RDB is of another version than its entry says")
    return crc


def _publish(staging: Path, layout: Layout, by_path: dict[str, Entry], directory: Path) -> list[str]:
    """Give every file its final name, the RDB last: a directory with a dump is a whole one."""
    files = [path for path in by_path if path != RDB_PATH]
    rdb = staging / RDB_PATH
    if layout.log:
        files.append(layout.log)
        (directory / layout.log).parent.mkdir(mode=0o700, exist_ok=True)
        _second_name(rdb, directory / layout.log, copy=layout.log_is_written_in_place)
    if layout.manifest:
        name, content = layout.manifest
        files.append(name)
        _write(directory / name, content)
    for path in by_path:
        if path != RDB_PATH:
            (staging / path).rename(directory / path)
    rdb.rename(directory / layout.dbfilename)
    staging.rmdir()
    for folder in {directory, *((directory / name).parent for name in files), directory.absolute().parent}:
        _fsync(folder)
    return [*files, layout.dbfilename]


def _second_name(rdb: Path, name: Path, *, copy: bool) -> None:
    """Let name hold the RDB too: the same file where neither is ever written in place and the disk can do it."""
    if not copy:
        try:
            name.hardlink_to(rdb)
        except OSError:
            copy = True
    if copy:
        shutil.copyfile(rdb, name)
        name.chmod(0o600)
        _fsync(name)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _hand_over(directory: Path, owner: tuple[int, int] | None) -> None:
    if owner:
        for path in (directory, *(path for path in directory.rglob("*") if path.name != "lost+found")):
            os.chown(path, *owner, follow_symlinks=False)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
