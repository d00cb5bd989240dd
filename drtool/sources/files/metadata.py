"""An entry's metadata back onto a file: owner, attributes, mode, times, in the order in which none undoes another."""

import base64
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from drtool.sources.base import Json
from drtool.sources.files.names import to_path, to_text
from drtool.sources.files.tree import Tree

SET_ID: Final = stat.S_ISUID | stat.S_ISGID
OWNER: Final = "owner"
_ACLS: Final = frozenset({"system.posix_acl_access", "system.posix_acl_default"})
_REFUSED: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP})

Owner = tuple[int, int]


@dataclass(slots=True)
class Unset:
    """What could not be given back, for want of rights or because the target's file system has no place for it.

    Paths by what they lack: "owner", "attribute user.x", "device".
    """

    paths: dict[str, set[str]] = field(default_factory=dict)

    def add(self, what: str, path: str) -> None:
        """Say that path did not get what."""
        self.paths.setdefault(what, set()).add(path)

    def has(self, what: str, path: str) -> bool:
        """Return whether path did not get what."""
        return path in self.paths.get(what, ())


@dataclass(frozen=True, slots=True)
class Metadata:
    """Gives files their metadata. owner replaces that of the entries, where it is given.

    The owner comes first: giving a file away takes its capabilities and set-id bits. The times come last.
    """

    owner: Owner | None
    unset: Unset

    def give(self, target: int | str, path: str, entry: Json) -> None:
        """Give an open file what its entry says; one that cannot be open is named by the way to its handle.

        What was refused for want of rights is kept in `unset`. Raises OSError at anything else.
        """
        mode = entry["mode"]
        status = os.stat(target)  # noqa: PTH116 - mostly an open file
        wanted = self.owner_of(entry)
        if (status.st_uid, status.st_gid) != wanted and not self._try(OWNER, path, os.chown, target, *wanted):
            mode &= ~SET_ID  # it would run as somebody else
        wanted_attributes = _attributes(entry)
        for name in _inherited(target) - wanted_attributes.keys():
            os.removexattr(target, name)
        for attribute, value in wanted_attributes.items():
            self._try(_attribute(attribute), path, os.setxattr, target, attribute, value)
        self._try("mode", path, os.chmod, target, mode)
        self._try("times", path, _set_times, target, entry["mtime"])

    def give_link(self, tree: Tree, path: str, entry: Json) -> None:
        """Give a symbolic link, which has no mode of its own, its owner and times."""
        folder, name = tree.above(path)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        wanted = self.owner_of(entry)
        if (status.st_uid, status.st_gid) != wanted:
            self._try(OWNER, path, _own_link, folder, name, wanted)
        for attribute, value in _attributes(entry).items():
            self._try(_attribute(attribute), path, _set_link_attribute, folder, name, attribute, value)
        os.utime(name, ns=(entry["mtime"], entry["mtime"]), dir_fd=folder, follow_symlinks=False)

    def owner_of(self, entry: Json) -> Owner:
        """Return whose an entry's file shall be."""
        return self.owner or (entry["uid"], entry["gid"])

    def _try(self, what: str, path: str, give: Callable[..., None], *arguments: object) -> bool:
        try:
            give(*arguments)
        except OSError as cause:
            if cause.errno not in _REFUSED:
                raise
            self.unset.add(what, path)
            return False
        return True


def _set_times(target: int | str, mtime_ns: int) -> None:
    os.utime(target, ns=(mtime_ns, mtime_ns))


def _attributes(entry: Json) -> dict[bytes, bytes]:
    return {to_path(name): base64.b64decode(value) for name, value in entry.get("xattrs", {}).items()}


def _inherited(target: int | str) -> set[bytes]:
    """Return the ACLs that a new file got from the folder above it."""
    try:
        return {os.fsencode(name) for name in os.listxattr(target) if name in _ACLS}
    except OSError as cause:
        if cause.errno not in _REFUSED:
            raise
        return set()


def _attribute(name: bytes) -> str:
    return f"attribute {to_text(name)}"


def _set_link_attribute(folder: int, name: bytes, attribute: bytes, value: bytes) -> None:
    os.setxattr(b"/proc/self/fd/%d/%s" % (folder, name), attribute, value, follow_symlinks=False)


def _own_link(folder: int, name: bytes, owner: Owner) -> None:
    os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
