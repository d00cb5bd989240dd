"""What an entry says of a file beside its content: kind, mode, owner, times, attributes, where a link leads."""

import base64
import errno
import os
import stat
import struct
from typing import Final

from drtool.sources.base import Json
from drtool.sources.files.names import to_text
from drtool.sources.files.walk import Seen

NS_PER_S: Final = 1_000_000_000
# File systems and servers count time in steps of up to two seconds. And who writes to a mapped file leaves no new time
# while the page is still on its way to the disk: for 30 seconds, where nobody changed vm.dirty_expire_centisecs.
UNSETTLED_NS: Final = 60 * NS_PER_S
_STAT = struct.Struct(">QqqQ")

# What belongs to the machine that the file lies on, and not to the file.
_LOCAL_ATTRIBUTES: Final = frozenset({"security.selinux"})
_NO_ATTRIBUTES: Final = frozenset({errno.ENOTSUP, errno.ENODATA, errno.EOPNOTSUPP})

_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFSOCK: "socket",
}
DEVICES: Final = frozenset({"character device", "block device"})


def kind_of(status: os.stat_result) -> str:
    """Return the kind of a file in words; an unknown one is a number."""
    kind = stat.S_IFMT(status.st_mode)
    return _KINDS.get(kind, f"{kind:#o}")


def describe(seen: Seen, handle: int | None = None) -> Json:
    """Return the entry of a file: type, mode, uid, gid, mtime in nanoseconds, and what its kind needs.

    Attributes are base64, ACLs among them; they are read from handle where the file is open, which is quicker.
    Raises OSError when the file is gone.
    """
    entry = describe_status(seen.status)
    kind, status = entry["type"], seen.status
    if kind == "symlink":
        entry["target"] = to_text(os.fsencode(_target(seen)))
    elif kind in DEVICES:
        entry["device"] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    add_attributes(entry, seen, handle)
    return entry


def _target(seen: Seen) -> str:
    try:
        return os.readlink(seen.name, dir_fd=seen.folder)
    except OSError as cause:
        if cause.errno == errno.EINVAL:  # by now it is no link
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO)) from cause
        raise


def describe_status(status: os.stat_result) -> Json:
    """Return what an entry has from the status of a file alone."""
    mode = status.st_mode
    return {
        "type": _KINDS.get(stat.S_IFMT(mode)) or kind_of(status),
        "mode": stat.S_IMODE(mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "mtime": status.st_mtime_ns,
    }


def add_attributes(entry: Json, seen: Seen, handle: int | None = None) -> None:
    """Add the attributes of a file to its entry, where it has any."""
    attributes = (
        read_attributes(f"/proc/self/fd/{seen.folder}/{seen.name}", follow_symlinks=False)
        if handle is None
        else read_attributes(handle)
    )
    if attributes:
        entry["xattrs"] = attributes


def read_attributes(place: str | int, *, follow_symlinks: bool = True) -> dict[str, str]:
    """Return the extended attributes of what lies at place, or of the open file that it is, as base64."""
    try:
        names = os.listxattr(place, follow_symlinks=follow_symlinks)
    except OSError as cause:
        if cause.errno in _NO_ATTRIBUTES:
            return {}
        raise
    found: dict[str, str] = {}
    for name in sorted(names):
        if name not in _LOCAL_ATTRIBUTES:
            try:
                value = os.getxattr(place, name, follow_symlinks=follow_symlinks)
            except OSError as cause:
                if cause.errno in _NO_ATTRIBUTES:  # it is gone by now, or is shown and never given
                    continue
                raise
            found[to_text(os.fsencode(name))] = base64.b64encode(value).decode()
    return found


def stat_record(status: os.stat_result) -> bytes:
    """Return by what a file is known to be unchanged: size, mtime and ctime in nanoseconds, inode."""
    return _STAT.pack(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def is_settled(status: os.stat_result, now_ns: int) -> bool:
    """Return whether a change after now would show: a file written to a moment ago may be again, and look the same."""
    return status.st_ctime_ns < now_ns - UNSETTLED_NS
