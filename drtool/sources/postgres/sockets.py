"""Folders for the sockets of servers of our own: with short paths, and gone at the latest with the next server.

The path of a socket has at most 107 bytes, and a data directory may be deeper: so they lie where temporary files do.
"""

import os
import socket
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from drtool.sources.scratch import left_folders, remove_files, within

PREFIX: Final = "drtool-socket-"  # not that of versions whose folders have no lock
_SOCKET: Final = ".s.PGSQL."  # what PostgreSQL's own files there begin with


def clear_left(owners: Collection[int]) -> None:
    """Remove the folders of owners that a killed drtool left, and no server uses any more."""
    for path, handle in left_folders(PREFIX, owners):
        names = [name for name in os.listdir(handle) if name.startswith(_SOCKET)]  # noqa: PTH208 - by handle
        if not any(_is_served(handle, name) for name in names):
            with suppress(OSError):  # where something else is in it
                remove_files(path, handle, names)


def _is_served(handle: int, name: str) -> bool:
    """Tell whether somebody may listen on a socket: only who is refused there, or finds none, knows that nobody does.

    Anything else may be a server: one at which more wait to be let in than it takes, or one that cannot be asked, as
    where there is no /proc.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(within(handle, name))
        except ConnectionRefusedError:
            return False
        except OSError:
            return _is_there(handle, name)
    return True


def _is_there(handle: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
