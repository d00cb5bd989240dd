"""Objects back into an empty directory, a file each; proven by reading them again."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from json import loads
from pathlib import Path

from drtool.errors import Corrupt, DrtoolError
from drtool.sources.base import Entry, Piece, Proof, Target
from drtool.sources.kubernetes.objects import DIGEST, content_of, is_path, path_of

_FOLDER, _FILE = 0o700, 0o600  # Secrets are among them
_TOLD = 3  # paths that a proof names


def check_entries(entries: Sequence[Entry]) -> None:
    """Return when every entry is an object with a name that leads nowhere else. Raises Corrupt."""
    seen: set[str] = set()
    for each in entries:
        if each.entry.get("type") != "object" or not is_path(each.path) or each.size <= DIGEST:
            raise Corrupt(f"the point holds {each.path!r}, which is no object")
        if each.path in seen:
            raise Corrupt(f"the point holds {each.path} twice")
        seen.add(each.path)


def restore(entries: Sequence[Entry], pieces: Iterable[Piece], target: Target) -> dict[str, bytes]:
    """Write objects into the target's directory, which is empty or absent; return their hashes by path.

    Raises Corrupt if the point is not whole, DrtoolError if the disk refuses: what was written is then removed.
    """
    existed = target.directory.exists()
    try:
        target.directory.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        writer = _Writer(target, {each.path: each.size for each in entries})
        for piece in pieces:
            writer.take(piece)
        return writer.finish()
    except BaseException as cause:
        with suppress(OSError):
            undo(entries, target.directory)
        if not existed:
            with suppress(OSError):
                target.directory.rmdir()
        if isinstance(cause, OSError):
            raise DrtoolError(
                f"{target.directory} cannot be written: {cause.strerror}",
                hint="What was written is removed again. See to the disk and your rights, and restore again.",
            ) from cause
        raise


def undo(entries: Sequence[Entry], directory: Path) -> None:
    """Remove objects that were written, and the folders that are empty then: what others put there stays.

    Raises OSError, once all else is removed, where an object cannot be.
    """
    folders, fault = set(), None
    for each in entries:
        place = directory / each.path
        try:
            place.unlink(missing_ok=True)
        except (NotADirectoryError, IsADirectoryError):  # somebody else put that there
            pass
        except OSError as cause:
            fault = cause
        folders |= {directory / folder for folder in Path(each.path).parents[:-1]}
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        with suppress(OSError):
            folder.rmdir()
    if fault is not None:
        raise fault


@dataclass(slots=True)
class _Writer:
    """One restore under way. Holds an object until all of its pieces have come."""

    target: Target
    sizes: dict[str, int]
    coming: dict[str, bytearray] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.missing = dict(self.sizes)

    def take(self, piece: Piece) -> None:
        """Put one piece in its place; write the object that it makes whole."""
        path, end = piece.path, piece.offset + len(piece.data)
        if piece.offset < 0 or end > self.sizes.get(path, 0) or len(piece.data) > self.missing[path]:
            raise Corrupt(f"the point has bytes of {path!r} that are none of its own")
        data = self.coming.setdefault(path, bytearray(self.sizes[path]))
        data[piece.offset : end] = piece.data
        self.missing[path] -= len(piece.data)
        if not self.missing[path]:
            self._write(path, content_of(path, bytes(self.coming.pop(path))))

    def finish(self) -> dict[str, bytes]:
        """Return the hashes once everything is on the disk."""
        short = next((path for path, missing in self.missing.items() if missing), None)
        if short is not None:
            raise Corrupt(f"{short} came back {self.missing[short]} bytes short of its size")
        self._own(self.target.directory)  # last: nobody else enters before all is there
        for place in (*self.target.directory.rglob("*"), self.target.directory, self.target.directory.parent):
            _fsync(place)
        return self.hashes

    def _write(self, path: str, content: bytes) -> None:
        place = self.target.directory / path
        for folder in reversed(place.relative_to(self.target.directory).parents[:-1]):
            self._own(self._folder(folder))
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        self._own(place)
        self.hashes[path] = sha256(content).digest()

    def _folder(self, folder: Path) -> Path:
        place = self.target.directory / folder
        place.mkdir(mode=_FOLDER, exist_ok=True)
        return place

    def _own(self, place: Path) -> None:
        if self.target.owner is not None:
            os.chown(place, *self.target.owner, follow_symlinks=False)


def _fsync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def prove(directory: Path, hashes: dict[str, bytes]) -> Iterator[Proof]:
    """Yield the proofs of restored objects: every file is read again."""
    there = {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}
    odd = sorted(there ^ hashes.keys())
    yield Proof(
        "every object, and nothing else", not odd, f"{len(hashes)}", f"{len(there)}{_named('odd', odd)}"
    )
    other = [path for path in sorted(there & hashes.keys()) if not _is_object(directory / path, path, hashes)]
    right = len(there & hashes.keys()) - len(other)
    yield Proof(
        "SHA-256 of every object, and that it is what its name says",
        not other,
        f"{len(hashes)} as captured",
        f"{right}{_named('other', other)}",
    )


def _is_object(place: Path, path: str, hashes: dict[str, bytes]) -> bool:
    content = place.read_bytes()
    return sha256(content).digest() == hashes[path] and path_of(loads(content)) == path


def _named(what: str, paths: Sequence[str]) -> str:
    """Return how many there are, and which, as far as one line holds them."""
    if not paths:
        return ""
    return f"; {len(paths)} {what}: {', '.join(paths[:_TOLD])}{', …' if len(paths) > _TOLD else ''}"
