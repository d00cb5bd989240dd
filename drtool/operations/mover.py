"""`mover restore`: what runs in a pod beside a claim. A volume is made whole in a folder of its own, then put in place.

The folder, .drtool-RUN, lies in the claim itself: there is room for what a recovery needs, and one rename brings the
data to its place. While it is there, the claim holds nothing but what that run wrote: a mover that was killed begins
anew, unless the data was in place already. Then a mark in the folder has what the restore found, and stays until the
run's journal has it too: whoever comes again says the same. Whatever else is there is somebody's data, and stays
untouched.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from drtool.errors import Refused, TemporaryFailure
from drtool.operations.mover_mark import Mark, print_of, read_mark, write_mark
from drtool.operations.restore import RestoreRequest, run_restore
from drtool.operations.results import RestoreResult
from drtool.operations.session import Session, World
from drtool.sources.base import Json

_FRESH: Final = {"lost+found"}  # what a new file system holds
_MODE: Final = 0o7777
_HANDS_S: Final = 120
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Claim:
    """Where a volume's data goes: path inside of the claim that is mounted at root, for one run."""

    root: Path
    path: str
    run: str
    volume: str = ""

    @property
    def target(self) -> Path:
        """The directory that has the data in the end."""
        return self.root / self.path

    @property
    def work(self) -> Path:
        """The folder of the run."""
        return self.root / f".drtool-{self.run}-{self.volume}"

    @property
    def data(self) -> Path:
        """Where the data is made whole. Once it is not there any more, and a mark is, the data is in its place."""
        return self.work / "data"

    @property
    def mark(self) -> Path:
        """What the folder holds beside the data: what was found of it."""
        return self.work / "mark.json"


def run_mover(
    session: Session, request: RestoreRequest, claim: Claim, encode: Callable[[RestoreResult], Json]
) -> Json:
    """Bring the granted volume back into a claim, proven; return what encode makes of the result.

    Where this very run has put it there before, and nobody touched it since, its result is returned again.
    request.directory is not looked at. Raises Refused with nothing touched, and what restore does.
    """
    point = "" if session.grant is None else session.grant.point
    if claim.mark.exists() and not claim.data.exists():
        session.world.progress.note("this run has put the data in place before: it is looked at again")
        return _held(claim, point)
    _take(claim, session.world)
    _refuse_root_of_another(request, claim)
    claim.work.mkdir(mode=0o700)
    result = replace(
        run_restore(session, replace(request, directory=claim.data)), directory=str(claim.target)
    )
    session.world.progress.phase("putting it in place")
    mark = Mark(claim.volume, point, print_of(claim.data), encode(result))
    write_mark(claim.mark, mark)
    if claim.target != claim.root:
        _put(claim)
        return mark.result
    times = claim.data.stat()
    notes = list(_spread(claim))
    if notes:
        mark = replace(mark, result=encode(replace(result, notes=(*result.notes, *notes))))
        write_mark(claim.mark, mark)
    claim.data.rmdir()
    _sync(claim.work)
    if not notes:
        os.utime(claim.root, ns=(times.st_atime_ns, times.st_mtime_ns))
    return mark.result


def settle(claim: Claim) -> None:
    """Remove the mark of a run from its claim; fine where there is none. The claim is as it was captured then."""
    if not claim.work.exists():
        return
    if not claim.mark.exists() or claim.data.exists():
        raise Refused(
            f"{claim.root} is not whole: this run has not put its data in place", hint="Go on with the run."
        )
    times = claim.root.stat()
    shutil.rmtree(claim.work)
    with suppress(OSError):  # who may write there need not own it
        os.utime(claim.root, ns=(times.st_atime_ns, times.st_mtime_ns))
    _sync(claim.root)


def _held(claim: Claim, point: str) -> Json:
    """Return what was found of the data that this run has put in place. Raises Refused where it is another."""
    mark = read_mark(claim.mark)
    if mark is None or (mark.volume, mark.point) != (claim.volume, point):
        raise Refused(
            f"{claim.mark} is no mark of {point}",
            hint="Somebody wrote it who is not this run: see who, and empty the claim; then resume.",
        )
    if print_of(claim.target, skip=f".drtool-{claim.run}-") != mark.print:
        raise Refused(
            f"{claim.target} was changed since this run put its data there",
            hint="See who writes there, and stop them; empty the claim, then resume.",
        )
    return mark.result


def wait_for_hands(folder: Path, world: World) -> Path:
    """Return where the programs of the application's container are, once it has put them there."""
    pauses = int(_HANDS_S / _PAUSE_S)
    while not (folder / "ready").exists():
        pauses -= 1
        if not pauses or world.ending.wait(_PAUSE_S):
            raise TemporaryFailure(
                f"the container with the server's programs did not put them into {folder} in {_HANDS_S} s",
                hint="Look at the log of container hands: its image has to have sh, mkfifo, sed and sleep.",
            )
    return folder / "bin"


def _take(claim: Claim, world: World) -> None:
    """Return when the claim's place is empty; what this very run left there is removed. Raises Refused."""
    if not claim.root.is_dir():
        raise Refused(f"{claim.root} is no directory", hint="Mount the claim there.")
    others = [
        each.name
        for each in claim.root.iterdir()
        if each.name.startswith(".drtool-") and not each.name.startswith(f".drtool-{claim.run}-")
    ]
    if others:
        raise Refused(
            f"{claim.root} holds {others[0]}: another run did not end there",
            hint="Undo that run with --abort, or empty the claim if nothing of it is needed.",
        )
    if claim.work.exists():
        world.progress.note(
            "this run was here before, and was stopped: what it wrote is removed, and it begins anew"
        )
        _empty(claim)
    there = sorted(_names(claim.target) - _FRESH)
    if there:
        raise Refused(
            f"{claim.target} is not empty: it holds {there[0]}",
            hint="drtool overwrites nothing: restore into a new claim, or empty this one.",
        )


def _refuse_root_of_another(request: RestoreRequest, claim: Claim) -> None:
    """Refuse PostgreSQL in a folder that it does not own: no server would start on it."""
    is_postgres = request.bin_dir is not None and (request.bin_dir / "postgres").exists()
    if is_postgres and claim.target == claim.root and claim.root.stat().st_uid != os.geteuid():
        raise Refused(
            f"{claim.root} belongs to user {claim.root.stat().st_uid}, and PostgreSQL takes only a folder of its own",
            hint="Set PGDATA to a folder below the claim's root, as the images of PostgreSQL advise.",
        )


def _empty(claim: Claim) -> None:
    """Remove what a run wrote; its folder last, for it says whose all this is."""
    for name in _names(claim.target) - _FRESH:
        if not name.startswith(f".drtool-{claim.run}-"):  # its own goes last, another volume's not at all
            _remove(claim.target / name)
    _remove(claim.work)


def _names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} if folder.is_dir() else set()


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def _put(claim: Claim) -> None:
    """Move the data to its place below the root of the claim."""
    target = claim.target
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if target.exists():
        target.rmdir()
    claim.data.rename(target)
    _sync(target.parent)
    _sync(claim.work)


def _spread(claim: Claim) -> Iterator[str]:
    """Move what the data holds into the root of the claim, and yield what could not be given to that root."""
    for each in sorted(claim.data.iterdir()):
        each.rename(claim.root / each.name)
    if (refused := _like(claim.data, claim.root)) is not None:
        yield refused
    _sync(claim.root)


def _like(data: Path, root: Path) -> str | None:
    """Give the root of a claim the owner, mode and attributes of data; return what to say where it is not ours."""
    wanted, found = data.stat(), root.stat()
    try:
        if (wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid):
            os.chown(root, wanted.st_uid, wanted.st_gid)
        for name in os.listxattr(data):
            os.setxattr(root, name, os.getxattr(data, name))
        root.chmod(wanted.st_mode & _MODE)
    except OSError as fault:
        with suppress(OSError):
            root.chmod(wanted.st_mode & _MODE)
        return f"the root of the claim keeps its own owner and mode: {fault.strerror}"
    return None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
