"""One run of one volume: streams → chunks → packs → lists → a LIST that finds them all → snapshot, in that order.

Chunks are hashed, compared and compressed in threads; the order of the stream is kept by collecting them first in,
first out. Memory is bounded by the chunks and packs in flight, whatever the size of the data.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from drtool.errors import TemporaryFailure
from drtool.repository import snapshot as snapshots
from drtool.repository.dedup import Earlier, Kept
from drtool.repository.format import compress
from drtool.repository.format.chunker import split
from drtool.repository.format.crypto import keyed_id
from drtool.repository.format.entries import encode_entry, encode_line
from drtool.repository.format.names import json_time
from drtool.repository.format.pack import CONTENT, ENTRIES, PRIVATE
from drtool.repository.format.places import Place, Span, path_id
from drtool.repository.format.record import Json
from drtool.repository.listing import ListBuilder, StatBuilder, Unplaced
from drtool.repository.packing import PACK_SIZE, Pack, PackSender, RunKey
from drtool.repository.repository import Repository

PRIVATE_BELOW: Final = (
    64 * 1024
)  # smaller files are never compared by content: nobody may test guesses of a Secret
PRIVATE_SOURCES: Final = frozenset({"manifests"})  # nor is anything of these, whatever its size
_BATCH: Final = 1024 * 1024  # chunks are handed to a thread about a MiB at a time
_ENTRY_CHUNK: Final = 1024 * 1024
_LIST_AT_LEAST: Final = (
    8192  # places before a list ends at a path whose id says so: what is new moves no other list
)
_LOOK_EVERY: Final = 256  # artifacts that are referred to between two looks at the clock
_REFERENCE_SIZE: Final = 512  # what a reference takes in memory, about, beside the list that it refers to


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is in flight and how often a part is kept. Sizes in bytes, times in seconds."""

    workers: int = 3  # two keep pace with a server; a third, while they wait for the interpreter
    in_flight: int = 6 * 1024 * 1024
    pack_size: int = PACK_SIZE
    part_bytes: int = 1024 * 1024 * 1024
    part_seconds: float = 300.0  # at most
    first_part_seconds: float = 60.0

    def part_due(self, age: float) -> float:
        """Return how long after a part the next one is due, in seconds, for a run that was of that age then.

        As long as it has run already: who is killed early keeps half of it, and who runs long leaves few parts, which
        every later run reads.
        """
        return min(self.part_seconds, max(self.first_part_seconds, age))


@dataclass(slots=True)
class _Chunk:
    """Bytes on their way; known is what stood at their place before, until it is seen to differ."""

    path: bytes
    offset: int
    data: bytes
    kind: int
    known: Place | None
    id: bytes = b""
    frame: bytes | None = None


@dataclass(slots=True)
class Totals:
    """What a run has done so far: artifacts; in bytes their size, what of it was read, what was stored already."""

    artifacts: int = 0
    size: int = 0
    read: int = 0
    reused: int = 0


@dataclass(slots=True)
class _Batch:
    """Chunks on their way, and between them places of earlier lists; in the order of the stream. size in bytes."""

    chunks: list[_Chunk | Span] = field(default_factory=list)
    size: int = 0


class Writer:
    """Writes one snapshot. Use as a context: leaving it without `commit` leaves nothing listed."""

    def __init__(
        self, repository: Repository, volume: str, source: str, earlier: Earlier, pace: Pace | None = None
    ):
        """Begin a run now, by the store's clock. earlier is what may be referred to."""
        self._repository = repository
        self._volume = volume
        self._source = source
        self._earlier = earlier
        self._pace = pace or Pace()
        self._id_key = repository.id_key
        self.start = repository.store.now()
        self.run = RunKey(repository.config.repository_id, volume, repository.config.recipient_keys())
        self._sender = PackSender(repository.store, self.run, self._id_key, repository.store.now)
        self._content = ListBuilder(repository.records, volume, earlier)
        self._entries = ListBuilder(repository.records, volume, earlier)
        self._stats = StatBuilder(repository.records, volume, earlier)
        self._pool = ThreadPoolExecutor(self._pace.workers, thread_name_prefix="drtool-chunk")
        self._queue: deque[Future[_Batch]] = deque()
        self._queued = 0
        self._batch = _Batch()
        self._pack: Pack | None = None
        self._entry_lines: list[bytes] = []
        self._entry_bytes = 0
        self._entry_offset = 0
        self._since_cut = 0
        self._begun = time.monotonic()
        self._part_at = (0, self._begun)
        self.totals = Totals()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        # Who was asked to end is not held up by a store that does not answer; nothing is committed any more.
        self._sender.close(at_once=kind is not None and not issubclass(kind, Exception))

    def header(self, value: Json) -> None:
        """Keep value (the policy's text, say) sealed, before the entries."""
        self._entry(encode_line(value))

    def save(
        self,
        path: str,
        entry: Json,
        stream: Iterable[bytes | memoryview],
        *,
        size: int | None,
        chunk_size: int,
    ) -> int:
        """Read stream to its end and keep its bytes under path; return how many they are.

        Raises what the stream, the store or a check raises.
        """
        mark = path_id(self._id_key, path)
        private = self._source in PRIVATE_SOURCES or (size is not None and size < PRIVATE_BELOW)
        known = None if private else self._earlier.known(mark)
        offset = 0
        for data in split(stream, chunk_size):
            kind = PRIVATE if private else CONTENT
            self._add(_Chunk(mark, offset, data, kind, known.at(offset) if known else None))
            offset += len(data)
        self.totals.read += offset
        return self._saved(path, entry, offset)

    def refer(self, path: str, entry: Json, kept: Kept) -> None:
        """Keep path as it was, with its stat record, by what `Earlier.whole` found."""
        for span in kept.spans:
            self._add_span(span)
        self.totals.reused += kept.stored
        self._stats.add_known(kept.stat)
        self._count(path, entry, kept.stored)
        self._end_lists(kept.path)
        if self.totals.artifacts % _LOOK_EVERY == 0:
            self._keep_part()

    def remember(self, path: str, stored: int, stat: bytes) -> None:
        """Keep the stat record by which the next run may know that path, of stored bytes, is unchanged."""
        mark = path_id(self._id_key, path)
        self._stats.add(mark, stored, stat)
        self._end_lists(mark)

    def _end_lists(self, mark: bytes) -> None:
        """End a list that is full, and both where the path id says so: what is new then moves no other list."""
        if self._stats.full:
            self._stats.put(self._repository.store.now())
        if self._since_cut >= _LIST_AT_LEAST and mark[0] == 0:
            self._since_cut = 0
            self._drain()
            self._flush(self._content)
            self._stats.put(self._repository.store.now())

    def _saved(self, path: str, entry: Json, stored: int) -> int:
        self._count(path, entry, stored)
        self._keep_part()
        return stored

    def _count(self, path: str, entry: Json, stored: int) -> None:
        self._entry(encode_entry(path, stored, entry))
        self.totals.artifacts += 1
        self.totals.size += stored

    def _add(self, chunk: _Chunk) -> None:
        self._since_cut += 1
        self._batch.chunks.append(chunk)
        self._batch.size += len(chunk.data)
        if self._batch.size >= _BATCH:
            self._submit()
            self._keep_part()

    def _add_span(self, span: Span) -> None:
        """Add places of an earlier list behind what is on its way; where nothing is, they go into the list at once."""
        self._since_cut += span.end - span.begin
        if not self._queue and not self._batch.chunks:
            self._take(span)
            return
        last = self._batch.chunks[-1] if self._batch.chunks else None
        if isinstance(last, Span) and last.is_followed_by(span):
            last.end = span.end
            return
        self._batch.chunks.append(Span(span.found, span.begin, span.end, span.name))
        self._batch.size += _REFERENCE_SIZE
        if not (isinstance(last, Span) and last.found is span.found):
            self._batch.size += span.found.size
        if self._batch.size >= _BATCH:
            self._submit()

    def _take(self, span: Span) -> None:
        rest: Span | None = span
        while rest is not None:
            part, rest = rest.split(self._content.room)
            self._content.add_span(part)
            if not self._content.room:
                self._flush(self._content)

    def _submit(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._queued += batch.size
        self._queue.append(self._pool.submit(self._prepare, batch))
        while self._queued > self._pace.in_flight:
            self._collect()

    def _prepare(self, batch: _Batch) -> _Batch:
        """Hash, compare and compress: runs in a thread, touches nothing but the batch."""
        for chunk in batch.chunks:
            if isinstance(chunk, Span):
                continue
            key = self._id_key if chunk.kind == CONTENT else self.run.private_id_key
            chunk.id = keyed_id(key, chunk.data)
            same = chunk.known is not None and chunk.known.id == chunk.id
            if not same or (chunk.known and chunk.known.plain_size != len(chunk.data)):
                chunk.known = None
                chunk.frame = compress.compress(chunk.data)
        return batch

    def _collect(self) -> None:
        batch = self._queue.popleft().result()
        self._queued -= batch.size
        for chunk in batch.chunks:
            if isinstance(chunk, Span):
                self._take(chunk)
                continue
            target = self._entries if chunk.kind == ENTRIES else self._content
            if chunk.known is not None:
                target.add_known(chunk.known)
                self.totals.reused += chunk.known.plain_size
            else:
                target.add(self._seal(chunk))
            if not target.room:
                self._flush(target)

    def _seal(self, chunk: _Chunk) -> Unplaced:
        frame = chunk.frame or b""
        if self._pack is not None and not self._pack.has_room(frame):
            self._send_pack()
        if self._pack is None:
            self._pack = self._sender.begin(self._pace.pack_size)
        packed = self._pack.add(frame, chunk.kind, len(chunk.data), chunk.id)
        return Unplaced(
            chunk.path, chunk.offset, self._pack.sent, packed, len(chunk.data), chunk.kind, chunk.id
        )

    def _send_pack(self, *, last: bool = False) -> None:
        pack, self._pack = self._pack, None
        if pack is not None:
            self._sender.send(pack, last=last)

    def _drain(self) -> None:
        if self._batch.chunks:
            self._submit()
        while self._queue:
            self._collect()

    def _flush(self, target: ListBuilder, *, last: bool = False) -> None:
        """Make the packs durable, then the list that names them."""
        self._send_pack(last=last)
        self._sender.wait()
        target.put(self._repository.store.now())

    def _entry(self, line: bytes) -> None:
        self._entry_lines.append(line)
        self._entry_bytes += len(line)
        if self._entry_bytes >= _ENTRY_CHUNK:
            self._submit_entries()

    def _submit_entries(self) -> None:
        data = b"".join(self._entry_lines)
        for at in range(0, len(data), _ENTRY_CHUNK):
            piece = data[at : at + _ENTRY_CHUNK]
            self._add(_Chunk(path_id(self._id_key, ""), self._entry_offset, piece, ENTRIES, None))
            self._entry_offset += len(piece)
        self._entry_lines, self._entry_bytes = [], 0

    def _keep_part(self) -> None:
        """Every GB, and from the first minute on, keep the lists so far, for the run that follows if this one dies."""
        if not self._earlier.refers:
            return  # nor will the next run refer to anything
        sent, since = self._part_at
        now, new = time.monotonic(), self._sender.bytes_sent - sent
        if new < self._pace.part_bytes and now - since < self._pace.part_due(since - self._begun):
            return
        self._drain()
        self._flush(self._content)
        self._stats.put(self._repository.store.now())
        self._part_at = (self._sender.bytes_sent, time.monotonic())
        if self._content.names:
            snapshots.put_part(
                self._repository.records, self._volume, self._repository.store.now(), self._part()
            )

    def _part(self) -> Json:
        return {
            "run": self.run.run.hex(),
            "start": json_time(self.start),
            "content": list(self._content.names),
            "runs": self._runs(),
            **({"stats": list(self._stats.names)} if self._stats.names else {}),
        }

    def _runs(self) -> dict[str, str]:
        used = self._content.runs | self._entries.runs
        own = {self.run.run.hex(): self.run.commitment.hex()}
        return own | {run: seal for run, seal in self._earlier.runs.items() if run in used}

    def commit(self, begin: datetime, end: datetime, facts: Json, marks: Json | None = None) -> str:
        """Make everything durable, look that it is there, then write the snapshot. Return its name.

        begin and end are clamped between the run's start and now, by the store's clock: a source's clock may differ.
        """
        self._submit_entries()
        self._drain()
        self._flush(self._content, last=True)
        self._flush(self._entries)
        self._stats.put(self._repository.store.now())
        self._check_listed()
        now = self._repository.store.now()
        draft = snapshots.Draft(
            volume=self._volume,
            source=self._source,
            run=self.run.run.hex(),
            start=self.start,
            begin=min(max(begin, self.start), now),
            end=min(max(end, begin, self.start), now),
            streams=snapshots.Streams(self._content.names, self._entries.names, self._stats.names),
            runs=self._runs(),
            facts=facts,
            size=self.totals.size,
            stored=self._sender.bytes_sent,
            previous=self._earlier.previous,
            marks=marks or {},
        )
        name = snapshots.put_snapshot(self._repository.records, draft)
        self._check_still_listed(name)
        return name

    def _check_still_listed(self, name: str) -> None:
        """Look once more: what vanished while the snapshot was on its way makes it void, and that is said at once."""
        try:
            self._check_listed()
        except TemporaryFailure as fault:
            reason = f"its writer found it incomplete: {fault.message}"
            void = snapshots.Void(name, self._volume, self.run.run.hex(), reason)
            snapshots.put_void(self._repository.records, void, self._repository.store.now())
            raise

    @property
    def stored(self) -> int:
        """Bytes of packs that this run has uploaded."""
        return self._sender.bytes_sent

    def _check_listed(self) -> None:
        """Existence comes from LIST, never from memory: what is referred to must be listed now."""
        store, volume = self._repository.store, self._volume
        needed = self._content.packs | self._entries.packs
        weeks = sorted({pack.split("/")[0] for pack in needed})
        listed = {
            found.name.removeprefix(f"packs/{volume}/")
            for week in weeks
            for found in store.list(f"packs/{volume}/{week}/")
        }
        lists = [*self._content.names, *self._entries.names, *self._stats.names]
        kept = {name for prefix in _prefixes(lists) for name in (found.name for found in store.list(prefix))}
        missing = sorted({f"packs/{volume}/{pack}" for pack in needed - listed} | (set(lists) - kept))
        if missing:
            raise TemporaryFailure(
                f"{len(missing)} objects that the snapshot of {volume} needs are not listed, {missing[0]} among them",
                hint="Something deletes from the store, or its listings lag; the next run uploads them anew.",
            )


def _prefixes(names: Sequence[str]) -> set[str]:
    return {name.rpartition("/")[0] + "/" for name in names}
