"""The note beside a directory into which a restore is at work: which point, since when, and how it went.

It is JSON, a line each time that more is known. A line that was not written whole says nothing.
"""

import fcntl
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from drtool.errors import Refused

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST: Final = 1 << 20  # bytes of a note


@dataclass(frozen=True, slots=True)
class Note:
    """A note of ours that is open, and locked as far as its file system can."""

    place: Path
    handle: int

    @classmethod
    def take(cls, directory: Path, *, make: bool = False) -> Self | None:
        """Return the locked note of directory; None where there is none, or none can be made.

        Raises Refused where another restore has it locked.
        """
        place = note_of(directory)
        while True:
            try:
                handle = _open(place, os.O_CREAT if make else 0)
            except OSError:
                return None
            if handle is None:
                return None
            try:
                _lock(handle, directory)
                if _lies_at(place, handle):
                    return cls(place, handle)
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # whose it was has ended, and took it away before we had it locked

    def begin(self, told: Mapping[str, Any]) -> bool:
        """Write a note anew. Return whether it could be written; otherwise it is to be removed."""
        try:
            os.ftruncate(self.handle, 0)
            self._append(told)
        except OSError:
            return False
        return True

    def add(self, told: Mapping[str, Any]) -> None:
        """Say more, as far as the disk lets us."""
        with suppress(OSError):
            self._append(told)

    def _append(self, told: Mapping[str, Any]) -> None:
        line = f"\n{json.dumps(told)}\n".encode()  # what was cut off before it stays a line of its own
        if os.write(self.handle, line) < len(line):
            os.write(self.handle, b"\n")  # which fails with the reason
        os.fsync(self.handle)

    def read(self) -> dict[str, Any]:
        """Return what the note says; nothing where it was not written whole."""
        return _read(self.handle)

    def remove(self) -> None:
        """Take the note away, and let it go."""
        with suppress(OSError):
            self.place.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let the note go."""
        os.close(self.handle)


def note_of(directory: Path) -> Path:
    """Return where the note of a directory lies."""
    return directory.with_name(f"{directory.name}.drtool-restore")


def _open(note: Path, flags: int) -> int | None:
    """Return a note of ours, open; None for what somebody else has put there. Raises OSError."""
    handle = os.open(note, _FLAGS | flags, 0o600)
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
        return handle
    os.close(handle)
    return None


def _lies_at(place: Path, handle: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), place.lstat())
    return False


def _lock(note: int, directory: Path) -> None:
    """Lock a note, as far as its file system can. Raises Refused where another restore has it locked."""
    try:
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        told = _read(note)
        what = f": of {told['point']}, since {told['begun']}" if told else ""
        raise Refused(
            f"another restore is at work in {directory}{what}",
            hint="Wait until it has ended, or restore into another directory.",
        ) from held
    except OSError:
        return


def _read(note: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for line in os.pread(note, _MOST, 0).splitlines():
        with suppress(ValueError):
            each = json.loads(line)
            told |= each if isinstance(each, dict) else {}
    return told if {"point", "begun"} <= told.keys() else {}
