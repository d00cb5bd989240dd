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
        if not any(_is_served(within(handle, name)) for name in names):
            with suppress(OSError):  # where something else is in it
                remove_files(path, handle, names)


def _is_served(path: str) -> bool:
    """Tell whether somebody listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # more wait to be let in than it takes
        except OSError:
            return False
    return True
