"""One volume's capture into one snapshot: source → writer → commit; for PostgreSQL, with its WAL beside it."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from drtool import __version__
from drtool.errors import Corrupt, DrtoolError, TemporaryFailure
from drtool.operations.coverage import Held, lineage_label, read_held
from drtool.operations.descent import refuse_other_server
from drtool.operations.limits import not_in_force
from drtool.operations.marks import bases_of, witness_marks
from drtool.operations.past import Known, Past
from drtool.operations.receiving import Following, Instance, declare_gap, reach_instance, receive_or_gap
from drtool.operations.session import Progress, Session
from drtool.operations.settings import files_directory, manifests_source, redis_settings, unsupported
from drtool.policy.durations import brief_duration
from drtool.policy.volumes import FilesVolume, ManifestsVolume, PostgresVolume, RedisVolume, Volume
from drtool.repository.format.names import json_time
from drtool.repository.format.record import Json
from drtool.repository.snapshot import Snapshot
from drtool.repository.wal import WalStore
from drtool.repository.writer import Totals, Writer
from drtool.sources.base import Artifact, Capture, Captured, Reference
from drtool.sources.files.capture import FilesSource, files_notes
from drtool.sources.kubernetes.manifests_notes import manifests_notes
from drtool.sources.postgres.base_backup import BackupOptions, BaseBackup
from drtool.sources.postgres.coverage import Base, Reach, find_reach
from drtool.sources.postgres.faults import SlotInUse
from drtool.sources.redis.beside import beside_notes
from drtool.sources.redis.capture import RedisSource

_WAIT_FOR_OTHER_S = 120.0  # a live follower holds the slot: it brings the WAL, or ends and leaves it to us
_LOOK_EVERY_S = 2.0

# What stands in a snapshot's record, readable with the list key. All other facts are sealed to the recipients.
OPEN_FACTS: Final = frozenset(
    {
        *("system_identifier", "major", "server_version", "wal_segment_size", "timeline"),
        *("start_lsn", "end_lsn", "degraded"),
        *("node", "role", "lag_s", "replid", "offset", "ctime", "rdb_version", "crc", "bytes"),
        "namespace_uid",  # so that no other cluster's namespace is taken for this one
        *("counts", "not_captured"),  # numbers and names of kinds
    }
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot that was committed: its name, its moment, and what it cost. Sizes in bytes."""

    name: str
    moment: datetime
    totals: Totals
    stored: int
    notes: list[str] = field(default_factory=list)


def capture_volume(session: Session, volume: Volume, previous: Snapshot | None) -> Kept:
    """Capture volume into a new snapshot. Raises what its source or the store raises; nothing is then listed."""
    past = Past(session, volume, previous)
    match volume:
        case PostgresVolume():
            return _capture_postgres(session, volume, past)
        case RedisVolume():
            redis = RedisSource(redis_settings(volume, session.world))
            return _save(session, volume, past, redis.capture(past), {})
        case FilesVolume():
            files = FilesSource(files_directory(volume, session.world), session.world.clock)
            return _save(session, volume, past, files.capture(past), {})
        case ManifestsVolume():
            manifests = manifests_source(session.need_policy(), volume, session.world)
            return _save(session, volume, past, manifests.capture(past), {})
        case _:
            raise unsupported(volume)


def _capture_postgres(session: Session, volume: PostgresVolume, past: Past) -> Kept:
    """Take a base backup while a receiver brings its WAL, and look that the WAL reaches the base's end.

    A slot that was lost is made anew before the base begins: from its start on, all WAL is kept for us. A server whose
    WAL would be refused is refused before that.
    """
    held = refuse_other_server(session, volume)
    instance = reach_instance(session, volume, is_asked=True)
    if instance.slot.is_lost:
        instance = declare_gap(session, instance, f"slot {instance.slot.name} was lost")
    options = BackupOptions(label=f"drtool {session.need_policy().name} {volume.name}")
    with _Beside(session, instance, held) as receiver:
        capture = BaseBackup(instance.settings, options)
        kept = _save(session, volume, past, capture, {"epoch": instance.lineage.epoch})
    kept.notes.extend(_finish_wal(session, instance, kept, receiver))
    return kept


class _Beside:
    """The receiver at work in a thread of its own, beside the base backup."""

    def __init__(self, session: Session, instance: Instance, held: Held) -> None:
        self._session = session
        self._instance = instance
        self._held = held
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="drtool-wal", daemon=True)
        self.fault: DrtoolError | None = None
        self.gap: str | None = None

    def __enter__(self) -> "_Beside":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._stop.set()
        if kind is None or issubclass(kind, Exception):  # who was asked to end waits for no store
            self._thread.join()

    def _follow(self) -> None:
        try:
            following = Following(self._stop.is_set)
            self.gap = receive_or_gap(self._session, self._instance, following, self._held).gap
        except DrtoolError as fault:
            self.fault = fault


def _finish_wal(session: Session, instance: Instance, kept: Kept, beside: _Beside) -> Iterator[str]:
    """Bring what the receiver beside did not: WAL to the base's end. Else wait for who holds the slot.

    Yields what to tell. Raises where the point would not be listed: that is no success.
    """
    volume = instance.volume.name
    session.world.progress.phase(f"{volume}: WAL to the end of the base backup")
    base = next((base for base in bases_of(session, volume) if base.id == kept.name), None)
    if base is None:
        raise DrtoolError(
            f"{kept.name} is stored, but cannot be read back",
            hint="Look at it with `drtool points` and `drtool verify --level L0`; then run the backup again.",
        )
    gap = beside.gap
    try:
        gap = _bring_wal(session, instance, base) or gap
    except TemporaryFailure as busy:
        raise TemporaryFailure(
            f"{kept.name} is stored, but its WAL is not: {busy.message}",
            hint="The point is listed as soon as its WAL is there; see whether the other receiver is at work.",
        ) from busy
    if gap is not None:
        yield f"there is a gap in the WAL before this base backup: {gap}"
    reach = _reach(session, base)
    if not reach.is_restorable:
        raise DrtoolError(
            f"{kept.name} is stored, but its WAL is not whole: {'; '.join(reach.faults())}",
            hint="It is not listed. Run the backup again; what was uploaded is used again.",
        )
    if beside.fault is not None and not isinstance(beside.fault, SlotInUse):
        yield f"the receiver beside the base backup stopped: {beside.fault.message}; its WAL was fetched afterwards"


def _bring_wal(session: Session, instance: Instance, base: Base) -> str | None:
    """See that the WAL of a base backup is stored up to its end, by us or by who holds the slot; return a gap.

    Who holds it may end without having brought what we need, as another backup does: so each look asks anew.
    """
    waiting, deadline = threading.Event(), time.monotonic() + _WAIT_FOR_OTHER_S
    while not _reach(session, base).is_restorable:
        try:
            return receive_or_gap(session, reach_instance(session, instance.volume)).gap
        except TemporaryFailure:
            if time.monotonic() >= deadline:
                raise
        waiting.wait(_LOOK_EVERY_S)
    return None


def _reach(session: Session, base: Base) -> Reach:
    store = WalStore(session.repository.records, lineage_label(base.id.split("/")[1], base.lineage))
    return find_reach(base, read_held(store, base.wal_segment_size).wal)


def _save(session: Session, volume: Volume, past: Past, capture: Capture, more: Json) -> Kept:
    """Write every artifact of capture, then commit."""
    repository, progress = session.repository, session.world.progress
    marks = witness_marks(session)
    progress.phase(f"{volume.name}: capturing")
    with Writer(repository, volume.name, volume.source, past.earlier) as writer, capture:
        ahead = _ahead(session, volume)
        writer.header({"policy": session.policy_text, "version": __version__})
        for artifact in capture:
            _save_one(writer, artifact, progress)
        captured = capture.result()
        writer.header({"facts": captured.facts})
        begin, end = captured.begin - ahead, captured.end - ahead
        name = writer.commit(begin, end, {**_facts(captured), **more}, marks)
        _refuse_late(session, volume, writer.start, name)
        notes = [*_notes(captured), *not_in_force(repository.config, volume)]
        return Kept(name, end, writer.totals, writer.stored, notes)


def _ahead(session: Session, volume: Volume) -> timedelta:
    """Return by how much the clock that tells a capture's span is ahead of the store's, where that clock is ours."""
    if isinstance(volume, FilesVolume | ManifestsVolume):
        return session.world.clock() - session.repository.store.now()
    return timedelta(0)


def _save_one(writer: Writer, artifact: Artifact | Reference, progress: Progress) -> None:
    """Write one artifact, or refer to it as it was; keep its stat record for the next run."""
    match artifact:
        case Known(path, entry):
            writer.refer(path, entry, artifact.kept)
        case Artifact(path, entry):
            stream = _counted(artifact.stream, progress)
            stored = writer.save(path, entry, stream, size=artifact.size, chunk_size=artifact.chunk_size)
            if artifact.stat is not None:
                writer.remember(path, stored, artifact.stat)
        case _:
            raise Corrupt(f"{artifact.path}: a reference that was not asked for")


def _refuse_late(session: Session, volume: Volume, start: datetime, name: str) -> None:
    """Raise when the snapshot arrived after its deadline: it is stored and shown, but no restore chooses it."""
    limit = timedelta(seconds=session.repository.config.limits(volume.name).max_run)
    if session.repository.store.now() > start + limit:
        raise DrtoolError(
            f"{name} reached the store later than max_run ({brief_duration(limit)}) after its start: it is not listed",
            hint=" ".join(
                [
                    "What it uploaded is used again by the next run, which is faster.",
                    *(
                        f"{said[0].upper()}{said[1:]}."
                        for said in not_in_force(session.repository.config, volume)
                    ),
                ]
            ),
        )


def _counted(stream: Iterable[bytes | memoryview], progress: Progress) -> Iterator[bytes | memoryview]:
    for data in stream:
        progress.advance(len(data))
        yield data


def _facts(captured: Captured) -> Json:
    """Return what a holder of the list key may see: positions and versions, no name that the application gave."""
    facts = {name: value for name, value in captured.facts.items() if name in OPEN_FACTS}
    return {**facts, "server_begin": json_time(captured.begin), "server_end": json_time(captured.end)}


def _notes(captured: Captured) -> list[str]:
    notes = []
    if captured.facts.get("degraded"):
        notes.append(f"DEGRADED: {captured.facts['degraded']}")
    if captured.facts.get("crc") == "none":
        notes.append("the server writes no checksum into its RDB (rdbchecksum no): it could not be checked")
    notes.extend(beside_notes(captured.facts))
    notes.extend(files_notes(captured.facts))
    notes.extend(manifests_notes(captured.facts))
    return notes
