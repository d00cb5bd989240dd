"""A file into the media volume: on disk before anybody is told so, and never seen half written."""

import os
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.conf import settings

PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Stored:
    """A file that is durable; path is relative to MEDIA_ROOT, size in bytes."""

    path: str
    sha256: str
    size: int


def store(identity: UUID, content: BinaryIO, size: int) -> Stored:
    """Write content under its identity, synced with its folder. Storing the same content again changes nothing.

    Raises ValueError if content is not size bytes long: the client went away.
    """
    path = f"uploads/{str(identity)[:2]}/{identity}"
    target = Path(settings.MEDIA_ROOT, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
        try:
            digest = _copy(content, file, size)
            Path(file.name).rename(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)
    return Stored(path, digest, size)


def _copy(content: BinaryIO, file: BinaryIO, size: int) -> str:
    digest, written = sha256(), 0
    while piece := content.read(PIECE):
        written += file.write(piece)
        digest.update(piece)
    if written != size:
        raise ValueError(f"{written} bytes came of {size}")
    file.flush()
    os.fchmod(file.fileno(), 0o644)  # nginx, another user, serves it
    os.fsync(file.fileno())
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
