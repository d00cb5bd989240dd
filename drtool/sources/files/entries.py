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
_UNSETTLED_NS: Final = 3 * NS_PER_S  # file systems and servers count time in steps of up to two seconds
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


def describe(seen: Seen) -> Json:
    """Return the entry of a file: type, mode, uid, gid, mtime in nanoseconds, and what its kind needs.

    Attributes are base64, ACLs among them. Raises OSError when the file is gone.
    """
    status = seen.status
    kind = kind_of(status)
    entry: Json = {
        "type": kind,
        "mode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "mtime": status.st_mtime_ns,
    }
    if kind == "symlink":
        target = os.readlink(seen.name, dir_fd=seen.folder)
        entry["target"] = to_text(os.fsencode(target))
    elif kind in DEVICES:
        entry["device"] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    attributes = read_attributes(f"/proc/self/fd/{seen.folder}/{seen.name}")
    if attributes:
        entry["xattrs"] = attributes
    return entry


def read_attributes(place: str) -> dict[str, str]:
    """Return the extended attributes of what lies at place, which is no link on the way to it, as base64."""
    try:
        names = os.listxattr(place, follow_symlinks=False)
        return {
            to_text(os.fsencode(name)): base64.b64encode(
                os.getxattr(place, name, follow_symlinks=False)
            ).decode()
            for name in sorted(names)
            if name not in _LOCAL_ATTRIBUTES
        }
    except OSError as cause:
        if cause.errno in _NO_ATTRIBUTES:
            return {}
        raise


def stat_record(status: os.stat_result) -> bytes:
    """Return by what a file is known to be unchanged: size, mtime and ctime in nanoseconds, inode."""
    return _STAT.pack(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def is_settled(status: os.stat_result, now_ns: int) -> bool:
    """Return whether a change after now would show: a file written to a moment ago may be again, in the same tick."""
    return status.st_ctime_ns < now_ns - _UNSETTLED_NS
