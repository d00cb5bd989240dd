"""Names of files: bytes to the system, text in entries and messages.

A path that is UTF-8 is its own text. Any other is U+0000, which no path holds, and its bytes as Latin-1.
"""

import os
from typing import Final

from drtool.errors import Corrupt

ROOT: Final = "."  # the path of the tree's own directory
_RAW: Final = "\0"


def to_text(path: bytes) -> str:
    """Return the text that stands for path in entries."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        return _RAW + path.decode("latin-1")


def text_of(path: str) -> str:
    """Return the same for a path as the system decodes it."""
    return path if path.isascii() else to_text(os.fsencode(path))


def to_path(text: str) -> bytes:
    """Return the path that text stands for. Raises Corrupt where no path has that text."""
    try:
        path = text[1:].encode("latin-1") if text.startswith(_RAW) else text.encode()
    except UnicodeEncodeError as fault:
        raise Corrupt(f"the point names a file {text!r}, and no file has such a name") from fault
    if b"\0" in path:
        raise Corrupt(f"the point names a file {text!r}, and no file has such a name")
    return path


def to_parts(text: str) -> tuple[bytes, ...]:
    """Return the folders and the name of an entry's path; none for the tree's own directory.

    Raises Corrupt for a path that could lead out of the tree.
    """
    if text == ROOT:
        return ()
    parts = tuple(to_path(text).split(b"/"))
    if any(part in (b"", b".", b"..") for part in parts):
        raise Corrupt(f"the point names a file {shown(text)}, which may lie outside of the directory")
    return parts


def shown(text: str) -> str:
    """Return an entry's path as a message may print it: on one line, whatever its bytes are."""
    path = os.fsencode(text) if not text.startswith(_RAW) else to_path(text)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in path.decode("utf-8", "backslashreplace")
    )
