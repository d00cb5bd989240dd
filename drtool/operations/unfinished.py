"""A restore into a directory that has not ended: taken back where it is told to end, told to who comes after a kill.

A note beside the directory, DIR.drtool-restore, says which point is written there. Who restores holds it locked: a
lock that is gone is a restore that was killed. Where nobody may write beside the directory, there is no note.
"""

import fcntl
import json
import os
import shlex
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from drtool.errors import DrtoolError, Refused
from drtool.policy.moments import exact
from drtool.sources.postgres.layout import linked_tablespaces, server_on

_FRESH: Final = {"lost+found"}  # what a new file system holds
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST: Final = 1 << 20  # bytes of a note
_NAMED: Final = 3  # of what is left in a directory

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Writing:
    """What a restore is about to write: a point, into the directory and places beyond it; undo takes that back.

    undo raises OSError where it cannot.
    """

    point: str
    directory: Path
    begun: datetime
    undo: Callable[[], None]
    places: Sequence[Path] = ()

    @property
    def roots(self) -> tuple[Path, ...]:
        return (self.directory, *self.places)


@dataclass(slots=True)
class Unfinished:
    """A context around a restore, which says by `begin` that it is about to write. Without that it does nothing.

    Ended by itself, it leaves what was written, and no note. Told to end, it takes everything back. A fault leaves what
    its step has left, to be looked at: with the note, where that is anything.
    """

    say: Say = field(default=lambda _text: None)
    _writing: Writing | None = None
    _note: int | None = None
    _made: list[Path] = field(default_factory=list)
    _modes: dict[Path, os.stat_result] = field(default_factory=dict)

    def begin(self, writing: Writing) -> None:
        """Note what is about to be written. Raises Refused where another restore is at work there."""
        self._writing = writing
        self._modes = {root: root.stat() for root in writing.roots if root.is_dir()}
        self._made = [each for root in writing.roots for each in (root, *root.parents) if not each.exists()]
        with suppress(OSError):  # what cannot be made there is told by who writes the data
            writing.directory.parent.mkdir(parents=True, exist_ok=True)
            self._note = _open(_note_of(writing.directory), os.O_CREAT)
        if self._note is not None:
            _lock(self._note, writing.directory)
            os.ftruncate(self._note, 0)
            os.pwrite(self._note, json.dumps(_told(writing)).encode(), 0)
            os.fsync(self._note)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writing is None:
            return
        try:
            ended = fault is None or not _left_in(self._writing.roots)
            if not ended and not isinstance(fault, DrtoolError):
                ended = self._take_back(self._writing)
            if ended and self._note is not None:
                _note_of(self._writing.directory).unlink(missing_ok=True)
            if fault is not None:
                self._remove_made()
        finally:
            if self._note is not None:
                os.close(self._note)

    def _take_back(self, writing: Writing) -> bool:
        """Remove what was written, and return whether that is so. What is there then is somebody else's."""
        self.say(f"what was written into {writing.directory} is removed again")
        try:
            writing.undo()
        except OSError as fault:
            self.say(f"it cannot be removed: {fault.strerror}")
            return False
        for root, before in self._modes.items():
            with suppress(OSError):
                os.chown(root, before.st_uid, before.st_gid)
                root.chmod(stat.S_IMODE(before.st_mode))
        for root in writing.roots:
            if left := _left_in([root]):
                self.say(f"{root} keeps {', '.join(left[:_NAMED])}{', …' if len(left) > _NAMED else ''}")
        return True

    def _remove_made(self) -> None:
        """Remove the folders that this restore made, as far as nothing is in them."""
        for each in sorted(set(self._made), key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):
                each.rmdir()


def refuse_unfinished(directory: Path) -> None:
    """Return where no restore was begun in directory that is under way, or that left something. Raises Refused."""
    note = None
    with suppress(OSError):
        note = _open(_note_of(directory))
    if note is None:
        return
    try:
        _lock(note, directory)
        told = _read(note)
    finally:
        os.close(note)
    spaces = (Path(each) for each in told.get("places", ()))
    places = list(dict.fromkeys([directory, *spaces, *linked_tablespaces(directory).values()]))
    if told and _left_in(places):
        raise Refused(
            f"{directory} holds a restore of {told['point']} that did not end: begun {told['begun']}",
            hint=_way_on(directory, [each for each in places if _left_in([each])]),
        )


def _way_on(directory: Path, places: Sequence[Path]) -> str:
    server = server_on(directory)
    if server is not None:
        stop = f"Stop it by `kill -INT {server}`, then run this again."
        return f"The server that it started still runs, as process {server}. {stop}"
    removal = "; ".join(_removal(each) for each in places)
    return f"If nothing else was put there since, remove what it wrote by `{removal}`, then run this again."


def _removal(place: Path) -> str:
    """Return the statement that empties a directory, which may be a mount point, in the words of a shell."""
    kept = [f"! -path {shlex.quote(f'{place}/{name}')}" for name in sorted(_FRESH & _names(place))]
    return " ".join(["find", shlex.quote(str(place)), "-mindepth 1", *kept, "-delete"])


def _note_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.drtool-restore")


def _told(writing: Writing) -> dict[str, Any]:
    return {
        "point": writing.point,
        "begun": exact(writing.begun),
        "places": [str(each) for each in writing.places],
    }


def _open(note: Path, flags: int = 0) -> int | None:
    """Return a note of ours, open; None for what somebody else has put there. Raises OSError."""
    handle = os.open(note, _FLAGS | flags, 0o600)
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
        return handle
    os.close(handle)
    return None


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
    """Return what a note says; nothing where it was not written whole."""
    with suppress(ValueError):
        told = json.loads(os.pread(note, _MOST, 0))
        if isinstance(told, dict) and {"point", "begun"} <= told.keys():
            return told
    return {}


def _names(place: Path) -> set[str]:
    return {each.name for each in place.iterdir()} if place.is_dir() else set()


def _left_in(places: Sequence[Path]) -> list[str]:
    return [name for place in places for name in sorted(_names(place) - _FRESH)]
