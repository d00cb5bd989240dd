"""The files with keys that a command line names: read, or said what is in the way."""

from pathlib import Path

from drtool.errors import UsageError


def read_key_file(file: Path) -> str:
    """Return the text of a file with keys. Raises UsageError."""
    try:
        return read_key_bytes(file).decode()
    except UnicodeDecodeError as fault:
        raise _unreadable(file, fault) from fault


def read_key_bytes(file: Path) -> bytes:
    """Return what a file with keys holds. Raises UsageError."""
    try:
        return file.read_bytes()
    except OSError as fault:
        raise _unreadable(file, fault) from fault


def _unreadable(file: Path, fault: Exception) -> UsageError:
    why = fault.strerror if isinstance(fault, OSError) else "it is no text"
    hint = "Look at its path and mode."
    if isinstance(fault, FileNotFoundError):
        hint = "`drtool init` writes the files of keys, once, for a new repository; look at the path."
    return UsageError(f"the key file {file} cannot be read: {why}", hint=hint)
