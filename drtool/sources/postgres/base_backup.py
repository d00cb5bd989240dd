"""A base backup as artifacts: BASE_BACKUP over a replication connection, read as it comes.

PostgreSQL: protocol-replication, BASE_BACKUP. The server answers with the start LSN, the tablespaces, one COPY
stream of typed messages (`n` an archive begins, `d` data, `p` progress, `m` the manifest begins), and the end LSN.
Only that last result with its CommandComplete makes a backup: an archive that looks whole proves nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self

from psycopg import pq

from drtool.errors import DrtoolError, SourceUnavailable
from drtool.sources.base import RELATION_CHUNK, STREAM_CHUNK, Artifact, Captured, Json
from drtool.sources.postgres.answers import Answers, ask
from drtool.sources.postgres.connection import PostgresSettings, Replication
from drtool.sources.postgres.facts import read_facts, server_time
from drtool.sources.postgres.faults import PagesDamaged
from drtool.sources.postgres.results import Result, Row, rows_of
from drtool.sources.postgres.tar import read_members
from drtool.sources.postgres.wal import format_lsn, parse_lsn

MANIFEST = "backup_manifest"
BASE_ARCHIVE = "base.tar"
TABLESPACES = "pg_tblspc"
RELATIONS = ("base/", "global/", f"{TABLESPACES}/")
REQUIRED = frozenset({"backup_label", "tablespace_map", "PG_VERSION", "global/pg_control", MANIFEST})
WARNINGS_KEPT = 20

NEW_ARCHIVE, DATA, PROGRESS, NEW_MANIFEST = b"ndpm"

Checkpoint = Literal["fast", "spread"]
Progress = Callable[[int, int], None]  # bytes that the server has read, of bytes that it estimates


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """How to take a base backup. spread lets the checkpoint take its time, up to checkpoint_timeout."""

    label: str
    checkpoint: Checkpoint = "fast"
    on_progress: Progress | None = None

    @property
    def command(self) -> str:
        label = self.label.replace("'", "''")
        return (
            f"BASE_BACKUP (LABEL '{label}', CHECKPOINT '{self.checkpoint}', WAL 0, WAIT 0, TABLESPACE_MAP, PROGRESS,"
            " MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', VERIFY_CHECKSUMS true)"
        )


class BaseBackup:
    """One base backup under way: a Capture. Its WAL from start to end LSN is the receiver's to fetch."""

    def __init__(self, settings: PostgresSettings, options: BackupOptions) -> None:
        self._settings = settings
        self._options = options
        self._replication: Replication | None = None
        self._facts: Json = {}
        self._result: Captured | None = None

    def __enter__(self) -> Self:
        self._facts = read_facts(self._settings)
        self._begin = datetime.fromisoformat(self._facts["begin"])
        self._started = time.monotonic()
        self._replication = Replication(self._settings)
        self._facts |= _identity_facts(self._replication)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._replication is not None:
            self._replication.close()

    def __iter__(self) -> Iterator[Artifact]:
        """Yield every file, directory and link of the data directory, then the manifest. Reads the server once."""
        assert self._replication is not None, "enter the capture before iterating over it"  # noqa: S101
        answers = ask(self._replication, self._options.command)
        start, timeline = _one_row(answers)[:2]
        tablespaces = _tablespaces(answers)
        stream = CopyStream(answers, self._options.on_progress, sum(each["size"] for each in tablespaces))
        missing = set(REQUIRED)
        for artifact in stream.artifacts():
            missing.discard(artifact.path)
            yield artifact
        end, degraded = self._finish(stream.behind, answers)
        if missing:
            raise SourceUnavailable(
                f"the base backup lacks {', '.join(sorted(missing))}",
                hint="Nothing of it is kept; take it again, and look into the server's log.",
            )
        self._facts |= {"start_lsn": start, "end_lsn": end, "timeline": int(timeline or 0)}
        self._facts |= {"tablespaces": [each for each in tablespaces if each["oid"] is not None]}
        if degraded:
            self._facts["degraded"] = degraded
        self._result = Captured(begin=self._begin, end=self._end(), facts=self._facts)

    def result(self) -> Captured:
        """Return facts and times; facts["degraded"] says so if the server found its own pages damaged."""
        if self._result is None:
            raise SourceUnavailable("the base backup did not come to its end", hint="Take it again.")
        return self._result

    def _finish(self, result: Result | None, answers: Answers) -> tuple[str, str]:
        """Return the end LSN, and what is wrong with the server's pages, if anything; result came behind the COPY."""
        end: Row | None = None
        complete = False
        try:
            while result is not None:
                complete = result.status == pq.ExecStatus.COMMAND_OK
                if result.status == pq.ExecStatus.TUPLES_OK:
                    end = rows_of(result)[0]
                result = answers.result()
        except PagesDamaged as damage:
            if end is None:
                raise
            complete = True
            notices = self._replication.notices if self._replication else []
            shown = "; ".join(notices[:WARNINGS_KEPT])
            return format_lsn(parse_lsn(end[0] or "")), f"{damage.message}: {shown}"
        if end is None or not complete:
            raise SourceUnavailable(
                "the base backup ended without its end position", hint="Look into the server's log."
            )
        return format_lsn(parse_lsn(end[0] or "")), ""

    def _end(self) -> datetime:
        """Return the server's time now, or, if it grants no connection now, the begin plus what passed here."""
        try:
            return server_time(self._settings)
        except DrtoolError:
            return self._begin + timedelta(seconds=time.monotonic() - self._started)


class CopyStream:
    """The typed messages of one BASE_BACKUP, cut into artifacts. Holds one message at a time."""

    def __init__(self, answers: Answers, on_progress: Progress | None, total: int) -> None:
        self._answers = answers
        self._on_progress = on_progress
        self._total = total
        self._next: memoryview | None = None  # the message that begins the next archive
        self._ended = False
        self.behind: Result | None = None  # what came behind the COPY

    def artifacts(self) -> Iterator[Artifact]:
        """Yield the artifacts of each archive, then the manifest."""
        deque(self._data(), maxlen=0)
        while self._next is not None:
            begin, self._next = bytes(self._next), None
            if begin[0] == NEW_MANIFEST:
                yield Artifact(MANIFEST, {"type": "file", "mode": 0o600}, self._data())
            else:
                name, location, *_ = begin[1:].decode().split("\0")
                yield from self._archive(name, location)
            deque(self._data(), maxlen=0)

    def _archive(self, name: str, location: str) -> Iterator[Artifact]:
        """Yield one tar archive. That of a tablespace lies below pg_tblspc/<oid>, a directory that says where."""
        below = ""
        if name != BASE_ARCHIVE:
            below = f"{TABLESPACES}/{name.removesuffix('.tar')}/"
            yield Artifact(
                below.rstrip("/"), {"type": "directory", "mode": 0o700, "tablespace": location}, size=0
            )
        for member, content in read_members(self._data()):
            path = below + member.path
            entry: Json = {"type": member.kind, "mode": member.mode, "mtime": member.mtime}
            if member.kind == "symlink":
                entry["target"] = member.target
            chunk_size = RELATION_CHUNK if path.startswith(RELATIONS) else STREAM_CHUNK
            yield Artifact(path, entry, content, member.size, chunk_size)

    def _data(self) -> Iterator[memoryview]:
        """Yield data until another archive begins, or the COPY ends."""
        while self._next is None and not self._ended:
            message = self._answers.copy_data()
            if message is None:
                self._ended = True
                self.behind = self._answers.result()  # a server that broke off says why, amid a file, too
                return
            kind = message[0]
            if kind == DATA:
                yield message[1:]
            elif kind == PROGRESS:
                if self._on_progress is not None:
                    done = int.from_bytes(message[1:9], "big")
                    self._on_progress(done, max(done, self._total))
            elif kind in (NEW_ARCHIVE, NEW_MANIFEST):
                self._next = message
            else:
                raise SourceUnavailable(
                    f"the server sent an unknown backup message {chr(kind)!r}",
                    hint="This drtool may be older than the server: update it.",
                )


def _identity_facts(replication: Replication) -> Json:
    identity = replication.identify()
    return {
        "system_identifier": str(identity.system_identifier),
        "major": identity.major,
        "server_version": identity.server_version,
        "wal_segment_size": identity.wal_segment_size,
    }


def _one_row(answers: Answers) -> Row:
    result = answers.result()
    rows = rows_of(result) if result is not None else []
    if not rows:
        raise SourceUnavailable("BASE_BACKUP answered nothing", hint="Look into the server's log.")
    return rows[0]


def _tablespaces(answers: Answers) -> list[Json]:
    """Return the second result, sizes in bytes (the server counts KiB), and wait for the COPY to begin.

    The data directory itself is the row without an oid.
    """
    result = answers.result()
    rows = rows_of(result) if result is not None else []
    answers.result()
    return [{"oid": oid, "location": location, "size": int(size or 0) * 1024} for oid, location, size in rows]
