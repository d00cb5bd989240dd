"""Whether a path of unknown origin is there in a tree. What it leads to outside of the tree does not count."""

import errno
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from drtool.errors import SourceUnavailable
from drtool.sources.files.faults import unreadable

_KEPT: Final = 4_096  # folders whose place is remembered
_NO_SUCH: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_NO_NAMES: Final = (b"", b".", b"..")


class Presence:
    """What is there below root. A path that begins with / is one from root on; one that leads out is not there."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SourceUnavailable(f"{root} is no folder", hint="See that the claim is mounted there.")
        self._root = os.path.realpath(os.fsencode(root))
        self._folder: Callable[[bytes], bytes | None] = lru_cache(_KEPT)(self._resolve)

    def has(self, path: bytes) -> bool:
        """Return whether path is there: a file, a folder, or a link, wherever that leads. Raises SourceUnavailable."""
        folder, name = os.path.split(path)
        if name in _NO_NAMES:
            folder, name = path, b""
        try:
            found = self._folder(folder)
            if found is None:
                return False
            os.lstat(found + b"/" + name)
        except ValueError:  # a zero byte, which no name has
            return False
        except OSError as fault:
            if fault.errno in _NO_SUCH:
                return False
            raise unreadable(os.fsdecode(path), fault) from fault
        return True

    def _resolve(self, folder: bytes) -> bytes | None:
        """Return where a folder is, links followed; None outside of the tree. Raises OSError, ValueError."""
        found = os.path.realpath(self._root + b"/" + folder, strict=True)
        is_inside = os.path.commonpath([self._root, found]) == self._root
        return found if is_inside else None
