"""How a data directory is laid out: names that may be written, directories that must be there, tablespaces."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from drtool.errors import Corrupt, Refused
from drtool.sources.base import Entry

PG_CONTROL = "global/pg_control"
BACKUP_LABEL = "backup_label"
TABLESPACE_MAP = "tablespace_map"
MANIFEST = "backup_manifest"
MARKER = "drtool.restore-in-progress"

# A base backup leaves them out or empty. basebackup.c, excludeDirContents; initdb.c, subdirs
EMPTY_DIRECTORIES = (
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical/mappings",
    "pg_logical/snapshots",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal/archive_status",
)
PID_FILE = "postmaster.pid"
# What comes to lie at the top of a data directory while it is restored, beside what the base backup has there.
SERVERS_OWN = frozenset(
    {
        MARKER,
        PID_FILE,
        TABLESPACE_MAP,
        f"{BACKUP_LABEL}.old",
        f"{TABLESPACE_MAP}.old",
        "current_logfiles",
        "postgresql.auto.conf",
        "postgresql.auto.conf.drtool",
        "postmaster.opts",
        "recovery.signal",
    }
)
SUMMARIES = "pg_wal/summaries"  # since 17

_TABLESPACE = re.compile(r"pg_tblspc/(\d+)")


def empty_directories(major: int) -> tuple[str, ...]:
    """Return the directories that a server of major wants to find, parents not named."""
    return (*EMPTY_DIRECTORIES, SUMMARIES) if major >= 17 else EMPTY_DIRECTORIES  # noqa: PLR2004 -- a version


def server_on(directory: Path) -> int | None:
    """Return the process of a server that runs on directory; None where none does that we may see."""
    with suppress(OSError, ValueError, IndexError):
        pid = int((directory / PID_FILE).read_text().split()[0])
        if (Path("/proc") / str(pid) / "cwd").samefile(directory):  # a server works in its directory
            return pid
    return None


def linked_tablespaces(directory: Path) -> dict[str, Path]:
    """Return where the tablespaces of a data directory are, by oid: its links say so."""
    links = directory / "pg_tblspc"
    there = sorted(links.iterdir(), key=lambda each: each.name) if links.is_dir() else []
    return {each.name: each.readlink() for each in there if each.is_symlink()}


def checked_path(path: str) -> PurePosixPath:
    """Return path if it stays inside the data directory. Raises Corrupt: a stored point is not to be trusted."""
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts or pure == PurePosixPath():
        raise Corrupt(f"the point holds a path that leaves the data directory: {path!r}")
    if pure.parts[0] == MARKER:
        raise Corrupt(f"the point holds the marker of a restore: {path!r}")
    return pure


def captured_tablespaces(entries: Iterable[Entry]) -> dict[str, str]:
    """Return where each tablespace was, by oid: its directory's entry says so."""
    return {
        match[1]: each.entry["tablespace"]
        for each in entries
        if "tablespace" in each.entry and (match := _TABLESPACE.fullmatch(each.path))
    }


def place_tablespaces(
    directory: Path, locations: Mapping[str, str], wanted: Mapping[str, Any]
) -> dict[str, Path]:
    """Return where each tablespace goes, by oid.

    locations are the captured places by oid; wanted maps an oid or a captured place to a new one. What it does
    not name goes below `<directory>-tablespaces`. Raises Refused for places that are relative or shared.
    """
    beside = directory.parent / f"{directory.name}-tablespaces"
    places: dict[str, Path] = {}
    for oid in sorted(locations, key=int):
        new = wanted.get(oid, wanted.get(locations[oid], beside / oid))
        places[oid] = Path(new)
    unknown = set(wanted) - places.keys() - set(locations.values())
    if unknown:
        has = ", ".join(f"{oid} in {locations[oid]}" for oid in places)
        raise Refused(
            f"the point has no tablespace {', '.join(sorted(unknown))}",
            hint=f"It has {has}: name one by its number or its place, --tablespace OLD=NEW."
            if has
            else "It has none: leave --tablespace out.",
        )
    for oid, place in places.items():
        others = [directory, *(other for key, other in places.items() if key != oid)]
        if not place.is_absolute() or any(place.is_relative_to(other) for other in others):
            raise Refused(
                f"tablespace {oid} cannot go to {place}",
                hint="Give each tablespace an absolute directory of its own, outside of the data directory.",
            )
    return places


def format_tablespace_map(places: Mapping[str, Path]) -> bytes:
    """Return the file that makes recovery link each oid to its place."""
    escaped = {oid: re.sub(r"([\\\n\r])", r"\\\1", str(place)) for oid, place in places.items()}
    return "".join(f"{oid} {place}\n" for oid, place in escaped.items()).encode("utf-8", "surrogateescape")
