"""Files that hold keys: made once, readable by their owner only, durable before drtool goes on."""

import os
from pathlib import Path

from drtool.errors import Refused, UsageError


def refuse_present(path: Path) -> None:
    """Return when nothing is at path, and its folder is there. Raises Refused or UsageError."""
    if os.path.lexists(path):
        raise _present(path)
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"the folder of {path} is not there", hint="Make it first, for whoever shall hold the keys."
        )


def write_key_file(path: Path, content: str | bytes) -> None:
    """Write a new file with mode 0600, and sync it and its folder.

    Raises Refused when there is a file already: none is overwritten.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as fault:
        raise _present(path) from fault
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _present(path: Path) -> Refused:
    return Refused(
        f"{path} is there already",
        hint="It may be the only copy of a key: move it away, or give another name.",
    )
