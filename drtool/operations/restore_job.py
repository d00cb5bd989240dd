"""One restore under way: what was asked for, what the store holds, and the steps that all sources share."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from drtool.errors import Corrupt, NoRecoveryPoint, ObjectMissing, Refused, UsageError
from drtool.operations.bridge import Bridge
from drtool.operations.points import Inventory, moment_of, why_of
from drtool.operations.results import RestoreResult
from drtool.operations.session import Session
from drtool.operations.unfinished import Unfinished, Writing
from drtool.operations.whole import newest_whole
from drtool.policy.load import parse_policy
from drtool.policy.moments import exact
from drtool.policy.schema import Policy
from drtool.repository.reader import Contents, Reader
from drtool.repository.snapshot import Snapshot
from drtool.repository.whole import Wholeness
from drtool.sources.base import Entry, Piece, Proof


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What is asked for. at is UTC; None means the newest. owner is a user's name, for who runs as root."""

    volume: str
    directory: Path
    at: datetime | None = None
    leave: Literal["stopped", "running"] = "stopped"
    owner: str | None = None
    bin_dir: Path | None = None
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    appendonly: bool | None = None
    accept_late: bool = False
    accept_void: bool = False
    accept_loss: bool = False
    as_of: str | None = None


def refuse_foreign_options(request: RestoreRequest, source: str) -> None:
    """Return when every option that was given does something for a volume of source. Raises UsageError."""
    given = {
        "--tablespace": ("postgres", bool(request.tablespaces)),
        "--leave running": ("postgres", request.leave == "running"),
        "--appendonly": ("redis", request.appendonly is not None),
    }
    for option, (kind, is_given) in given.items():
        if is_given and source != kind:
            raise UsageError(
                f"{option} does nothing for {request.volume}, which is of source {source}",
                hint=f"Leave it out: it is for volumes of source {kind}.",
            )


class Stopwatch:
    """How long each phase took, in seconds."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._begun = time.monotonic()
        self._phase = ""
        self._since = self._begun
        self.phases: dict[str, float] = {}

    def phase(self, name: str) -> None:
        """End the phase under way and begin another."""
        self.stop()
        self._phase, self._since = name, time.monotonic()
        self._announce(name)

    def stop(self) -> float:
        """End the phase under way; return the seconds since the beginning."""
        now = time.monotonic()
        if self._phase:
            self.phases[self._phase] = self.phases.get(self._phase, 0.0) + now - self._since
            self._phase = ""
        return now - self._begun


@dataclass(frozen=True, slots=True)
class Job:
    """One restore under way, as the sources' own steps see it."""

    session: Session
    request: RestoreRequest
    inventory: Inventory
    reader: Reader
    watch: Stopwatch
    owner: tuple[int, int] | None
    dry_run: bool
    unfinished: Unfinished = field(default_factory=Unfinished)
    wholeness: Wholeness | None = None  # none with a grant: who made it has looked
    not_whole: dict[str, str] = field(default_factory=dict)  # newer points that are left, and what each lacks

    def begin(self, snapshot: Snapshot, undo: Callable[[], None], *, places: Iterable[Path] = ()) -> None:
        """Note that snapshot is about to be written. Raises Refused where another restore is at work there.

        undo takes back whatever was written then, into the directory and into places.
        """
        begun = self.session.world.clock()
        self.unfinished.begin(Writing(snapshot.name, self.request.directory, begun, undo, tuple(places)))

    def fault_of(self, snapshot: Snapshot) -> Corrupt | ObjectMissing | None:
        """Return what of a point is gone from the store; None where nothing is."""
        return None if self.wholeness is None else self.wholeness.fault_of(snapshot)

    def open(self, snapshot: Snapshot) -> tuple[Contents, list[Entry]]:
        """Return a snapshot's contents, its lists checked to be complete. No pack of content is fetched."""
        self.watch.phase("checking the point")
        contents = self.reader.read_contents(snapshot)
        self.reader.check(snapshot, contents)
        return contents, [Entry(each.path, each.entry, each.size) for each in contents.entries]

    def policy(self, contents: Contents) -> Policy | None:
        """Return the policy at hand, or the one that the run stored."""
        if self.session.policy is not None:
            return self.session.policy
        text = contents.header.get("policy")
        return parse_policy(text, "the stored policy") if text else None


def refuse_used_directory(directory: Path) -> None:
    """Return when directory is absent or empty. Raises Refused."""
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise Refused(f"{directory} is no directory", hint="Name an empty directory, or a new one.")
    if directory.is_dir() and (there := sorted(each.name for each in directory.iterdir())):
        raise Refused(
            f"{directory} is not empty: it holds {there[0]}",
            hint="Restore into an empty directory, or a new one; drtool overwrites nothing.",
        )


def newest_before(job: Job) -> Snapshot:
    """Return the newest point not after the moment that is asked for. Raises NoRecoveryPoint, naming the nearest.

    Raises Refused where something of it is gone from the store, as `newest_whole` does.
    """
    snapshots, at, volume = list(job.inventory.snapshots.values()), job.request.at, job.request.volume
    if at is not None and _is_to_come(job.session, at):
        raise NoRecoveryPoint(
            f"{exact(at)} is yet to come: nothing of {volume} can be stored up to then",
            hint=f"Leave the moment out to get the newest, of {exact(max(each.end for each in snapshots))}.",
        )
    usable = [snapshot for snapshot in snapshots if at is None or snapshot.end <= at]
    if usable:
        newest_first = sorted(usable, key=lambda snapshot: snapshot.end, reverse=True)
        taken, lacking = newest_whole(newest_first, job.fault_of, accept_loss=job.request.accept_loss)
        job.not_whole.update(lacking)
        return taken
    first = min(snapshots, key=lambda snapshot: snapshot.end)
    raise NoRecoveryPoint(
        f"{volume} has no point before the moment that was asked for",
        hint=f"The oldest one is of {exact(first.end)}.",
    )


def _is_to_come(session: Session, moment: datetime) -> bool:
    """Tell whether neither clock, ours nor the store's, is so far. Who made a grant has looked."""
    if session.grant is not None or moment <= session.world.clock():
        return False
    return moment > session.repository.store.now()


def refuse_newer_unreadable(job: Job, chosen: Snapshot) -> None:
    """Return when no newer point is there that cannot be read, or that loss is accepted. Raises Refused."""
    newer = [
        each
        for each in job.inventory.unreadable
        if moment_of(each.name) > moment_of(chosen.name)
        and (job.request.at is None or moment_of(each.name) <= job.request.at)
    ]
    if newer and not job.request.accept_loss:
        raise Refused(
            f"{newer[-1].name} is newer than {chosen.name}, and cannot be read: {why_of(newer[-1])}",
            hint="Take the older point with --at, or with --accept-loss.",
        )


def pieces_of(job: Job, snapshot: Snapshot, contents: Contents) -> Iterator[Piece]:
    """Yield the bytes of a snapshot's artifacts, and say how far they are."""
    for piece in Bridge(lambda take: job.reader.read(snapshot, contents, take)):
        job.session.world.progress.advance(len(piece.data))
        yield piece


def result_of(job: Job, snapshot: Snapshot, proofs: Sequence[Proof], notes: Sequence[str]) -> RestoreResult:
    """Return how the restore of a directory's content went."""
    seconds = job.watch.stop()
    return RestoreResult(
        volume=snapshot.volume,
        source=snapshot.source,
        point=snapshot.name,
        target=job.request.at,
        moment=snapshot.begin,
        directory=str(job.request.directory),
        size=snapshot.size,
        seconds=seconds,
        phases=job.watch.phases,
        proofs=tuple(proofs),
        facts=snapshot.facts,
        notes=tuple(notes),
        dry_run=job.dry_run,
    )
