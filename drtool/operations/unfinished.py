"""A restore into a directory that has not ended: taken back where it is told to end, told to who comes after a kill.

A note beside the directory, DIR.drtool-restore, says which point is written there. Who restores holds it locked: a
lock that is gone is a restore that was killed. Where nobody may write beside the directory, there is no note.
"""

import os
import shlex
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from drtool.errors import NotProven, Refused
from drtool.operations.restore_note import Note
from drtool.policy.moments import exact
from drtool.sources.postgres.layout import linked_tablespaces, server_on

_FRESH: Final = {"lost+found"}  # what a new file system holds
_NAMED: Final = 3  # of what is left in a directory
_BESIDE: Final = (
    "wal",
    "recovery",
)  # what a restore may lay beside its directory, and needs no more once it is killed

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Writing:
    """What a restore is about to write: a point, into the directory and places beyond it; undo takes that back.

    undo raises OSError where something of it stays that nobody else needs.
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

    Ended, it leaves what was written, and no note. Told to end before, it takes everything back. A fault, of whatever
    kind, leaves what its step has left, to be looked at: with the note, where that is anything.
    """

    say: Say = field(default=lambda _text: None)
    _writing: Writing | None = None
    _note: Note | None = None
    _has_ended: bool = False
    _made: list[Path] = field(default_factory=list)
    _modes: dict[Path, os.stat_result] = field(default_factory=dict)

    def begin(self, writing: Writing) -> None:
        """Note what is about to be written. Raises Refused where another restore is at work, or left something."""
        made = [each for root in writing.roots for each in (root, *root.parents) if not each.exists()]
        self._modes = {root: root.stat() for root in writing.roots if root.is_dir()}
        self._made = [each for each in made if each in writing.directory.parents]
        _make([writing.directory.parent])
        note = Note.take(writing.directory, make=True)
        if note is not None:
            try:
                _refuse_left(
                    writing.directory, note.read()
                )  # of one that came, and was killed, since it was looked at
            except BaseException:
                note.close()
                raise
        # From here on the directories are ours: whatever comes, `__exit__` knows of all that may have been made.
        self._note, self._writing, self._made = note, writing, made
        if note is not None:
            _make(writing.roots, mode=0o700)
            if not note.begin(_told(writing)):
                self._note = None
                note.remove()

    def end(self) -> None:
        """Say that all is written and proven: from now on it stays, whatever comes."""
        self._has_ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writing is None:
            if fault is not None:
                self._remove_made()
            return
        note, self._note = self._note, None
        is_done = self._has_ended or fault is None
        try:
            is_over = is_done or not _left_in(self._writing.roots)
            if not is_over and isinstance(fault, Exception):  # anything else is Ctrl-C, SIGTERM: told to end
                self._keep(note, fault)
            elif not is_over:
                is_over = self._take_back(self._writing)
            if is_over and note is not None:
                note.place.unlink(missing_ok=True)
            if not is_done:
                self._remove_made()
        finally:
            if note is not None:
                note.close()

    def _keep(self, note: Note | None, fault: Exception) -> None:
        if note is not None:
            note.add({"ended": "failed its proofs" if isinstance(fault, NotProven) else "failed"})

    def _take_back(self, writing: Writing) -> bool:
        """Remove what was written, and return whether that is so. What is there then is somebody else's."""
        self.say(f"what was written into {writing.directory} is removed again")
        try:
            writing.undo()
        except OSError as fault:
            where = f" {fault.filename}" if isinstance(fault.filename, str) else ""
            self.say(f"it cannot be removed:{where} {fault.strerror}")
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


def refuse_unfinished(directory: Path, *, dry_run: bool = False) -> None:
    """Return where no restore was begun in directory that is under way, or that left something. Raises Refused.

    What one that was killed left beside the directory goes, unless this is a dry run: it takes room.
    """
    note = Note.take(directory)
    if note is None:
        return
    try:
        told = note.read()
        _refuse_left(directory, told)
        if told and not dry_run:
            _clear_beside(directory)
    finally:
        note.close()


def refuse_nameless(directory: Path) -> None:
    """Return when directory has a name, beside which a note can lie. Raises Refused."""
    if not directory.name:
        raise Refused(
            f"{directory} is the root of the whole system", hint="Name an empty directory, or a new one."
        )


def beside(directory: Path, what: str) -> Path:
    """Return where something of a restore lies that is none of its directory's content."""
    absolute = Path(os.path.abspath(directory))  # noqa: PTH100 - links are not to be followed
    return absolute.with_name(f"{absolute.name}.drtool-{what}")


def left_beside(directory: Path) -> list[Path]:
    """Return what lies beside a directory that only a restore at work, or a server that it started, needs."""
    return [place for what in _BESIDE if (place := beside(directory, what)).is_dir()]


def _clear_beside(directory: Path) -> None:
    for place in left_beside(directory):
        if not _is_used(place):
            shutil.rmtree(place, ignore_errors=True)


def _is_used(place: Path) -> bool:
    """Return whether a process names place in its arguments, as a server does whose configuration lies there."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if os.fsencode(place) in (process / "cmdline").read_bytes():
                return True
    return False


def _refuse_left(directory: Path, told: Mapping[str, Any]) -> None:
    """Return when nothing is left of the restore that a note tells of. Raises Refused."""
    if not told:
        return
    named = [directory, *(Path(each) for each in told.get("places", ()))]
    places = dict.fromkeys([*named, *linked_tablespaces(directory).values()])
    left = [each for each in places if _left_in([each])]
    if not left:
        return
    point, begun, ending = told["point"], told["begun"], told.get("ended", "did not end")
    was = told.get("roots", {})
    strange = [
        each for each in named if each in left and was.get(str(each)) != _identities([each])[str(each)]
    ]
    if strange:
        names = ", ".join(map(str, strange))
        raise Refused(
            f"a restore of {point} into {directory} {ending}, begun {begun}, and {names} is not known to be what it "
            f"wrote into",
            hint=_of_server(directory)
            or "Another directory may be in its place: look at what it holds. Empty it by hand where nobody needs "
            "that, and run this again, or restore into another directory.",
        )
    raise Refused(
        f"{directory} holds a restore of {point} that {ending}: begun {begun}",
        hint=_of_server(directory) or _of_removal(left),
    )


def _of_server(directory: Path) -> str:
    server = server_on(directory)
    if server is None:
        return ""
    stop = f"If nobody needs it, stop it by `kill -INT {server}`, then run this again."
    return f"A server runs on it, as process {server}. {stop}"


def _of_removal(places: Sequence[Path]) -> str:
    removal = "; ".join(_removal(each) for each in places)
    return f"If nothing else was put there since, remove what it wrote by `{removal}`, then run this again."


def _removal(place: Path) -> str:
    """Return the statement that empties a directory, which may be a mount point, in the words of a shell.

    It enters no other file system, and leaves what a new file system holds as it is.
    """
    kept = " ".join(f"! -name {name}" for name in sorted(_FRESH))
    remove = "rm -rf --one-file-system --preserve-root=all --"
    return f"find {shlex.quote(str(place))} -mindepth 1 -maxdepth 1 -xdev {kept} -exec {remove} {{}} +"


def _told(writing: Writing) -> dict[str, Any]:
    return {
        "point": writing.point,
        "begun": exact(writing.begun),
        "places": [str(each) for each in writing.places],
        "roots": _identities(writing.roots),
    }


def _make(directories: Iterable[Path], mode: int = 0o777) -> None:
    """Make directories. What cannot be made is told by who writes the data.

    Those that are written into are there before the note: it says which they are, for another one of that name is not
    ours.
    """
    for each in directories:
        with suppress(OSError):
            each.mkdir(mode, parents=True, exist_ok=True)


def _identities(roots: Sequence[Path]) -> dict[str, list[int]]:
    """Return which directories those are that are there."""
    there = [(root, root.stat()) for root in roots if root.is_dir()]
    return {str(root): [found.st_dev, found.st_ino] for root, found in there}


def _names(place: Path) -> set[str]:
    return {each.name for each in place.iterdir()} if place.is_dir() else set()


def _left_in(places: Sequence[Path]) -> list[str]:
    return [name for place in places for name in sorted(_names(place) - _FRESH)]
