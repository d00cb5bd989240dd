"""What a file system refuses, in words. The path stands in the hint alone: a message is kept where no path may be."""

import errno
import os
from pathlib import Path
from typing import Final

from drtool.errors import DrtoolError, SourceUnavailable
from drtool.sources.files.names import shown, to_text

GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})
REPLACED: Final = frozenset(
    {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENODEV}
)  # by something of another kind
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})


def vanished(cause: OSError) -> bool:
    """Return whether what was listed is not there any more, or is something else now."""
    return cause.errno in GONE | REPLACED


def unreadable(path: str, cause: OSError, status: os.stat_result | None = None) -> SourceUnavailable:
    """Return the error for what cannot be read; path is relative to the tree, as the system names it."""
    where = shown(to_text(os.fsencode(path)))
    if cause.errno in _FORBIDDEN:
        return SourceUnavailable(
            f"something in the tree may not be read: {_told(cause)}{_rights(status)}",
            hint=f"It is {where}. Run as its owner (run_as: user, group, groups); where files have several owners, "
            "the volume needs the exception pod_security: baseline.",
        )
    return SourceUnavailable(
        f"something in the tree cannot be read: {_told(cause)}",
        hint=f"It is {where}. See to the disk, or to the server that it is mounted from.",
    )


def unwritable(directory: Path, cause: OSError) -> DrtoolError:
    """Return the error for what a restore cannot write below directory."""
    named = os.fsdecode(cause.filename) if isinstance(cause.filename, str | bytes) else ""
    where = f"{directory}, at {shown(to_text(os.fsencode(named)))}" if named else str(directory)
    return DrtoolError(
        f"cannot write {where}: {_told(cause)}",
        hint="What was written is removed again. See to the disk, its quota and your rights, and restore again.",
    )


def _told(cause: OSError) -> str:
    return (cause.strerror or str(cause)).lower()


def _rights(status: os.stat_result | None) -> str:
    """Return whose it is, and who we are."""
    ours = f"we are {os.geteuid()}:{os.getegid()}, groups {','.join(map(str, os.getgroups())) or 'none'}"
    if status is None:
        return f" ({ours})"
    return f" (mode {status.st_mode & 0o7777:04o}, owner {status.st_uid}:{status.st_gid}; {ours})"
