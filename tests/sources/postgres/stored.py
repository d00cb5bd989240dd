"""A store that drtool did not fill: bases by pg_basebackup, WAL out of the server's own pg_wal. An oracle."""

import json
import pwd
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from drtool.demo.servers.postgres import PostgresServer, account, private_directory, run
from drtool.sources.base import Entry, Piece, Target
from drtool.sources.postgres.binaries import Account, Binaries, choose_account
from drtool.sources.postgres.coverage import Base, Lineage, SegmentPlan, StoredWal, Tail
from drtool.sources.postgres.pitr import RecoveryChoice
from drtool.sources.postgres.records import RecordWalk
from drtool.sources.postgres.recovery import Expected
from drtool.sources.postgres.restore import restore_base
from drtool.sources.postgres.staging import stage_history, stage_segment
from drtool.sources.postgres.survey import Survey, survey
from drtool.sources.postgres.wal import (
    Ancestor,
    is_segment_name,
    parse_history,
    parse_lsn,
    parse_segment_name,
    segment_start,
)

PIECE = 256 * 1024
SETTINGS = {"wal_keep_size": "2GB", "max_wal_senders": 10, "autovacuum": "off", "hot_standby": "on"}


def owner() -> tuple[int, int] | None:
    name = account()
    return None if name is None else (pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid)


def binaries_of(server: PostgresServer, major: int) -> Binaries:
    who: Account | None = choose_account(owner())
    return Binaries(server.bin_dir, major, who)


def now_of(server: PostgresServer) -> datetime:
    moment: datetime = server.sql("select clock_timestamp()")[0][0]
    return moment.astimezone(UTC)


def flush_of(server: PostgresServer) -> int:
    return parse_lsn(server.sql("select pg_current_wal_flush_lsn()::text")[0][0])


def system_of(server: PostgresServer) -> int:
    return int(server.sql("select system_identifier from pg_control_system()")[0][0])


@dataclass
class StoredBase:
    base: Base
    entries: list[Entry]
    contents: dict[str, bytes]

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces backwards: they may come in any order."""
        for path, content in reversed(self.contents.items()):
            for offset in reversed(range(0, len(content), PIECE)):
                yield Piece(path, offset, content[offset : offset + PIECE])


def take_base(server: PostgresServer, major: int, *, segment_size: int = 16 << 20) -> StoredBase:
    """Take a base backup with the server's own pg_basebackup, in tar format."""
    begin, place = now_of(server), private_directory("base")
    options: list[str | Path] = ["-Ft", "-X", "none", "-c", "fast", "--no-sync", "-D", place / "tar"]
    where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"]
    run([server.bin_dir / "pg_basebackup", *options, *where], cwd=place, env={"PGPASSWORD": server.password})
    end = now_of(server)
    spaces = dict(
        server.sql("select oid::text, pg_tablespace_location(oid) from pg_tablespace where oid > 16000")
    )
    entries, contents = [], {}
    for archive in sorted((place / "tar").glob("*.tar")):
        below = ""
        if archive.name != "base.tar":
            below = f"pg_tblspc/{archive.stem}/"
            entry = {"type": "directory", "mode": 0o700, "tablespace": spaces[archive.stem]}
            entries.append(Entry(below.rstrip("/"), entry, 0))
        with tarfile.open(archive) as tar:
            for member in tar:
                path, kind = (
                    below + member.name.removeprefix("./"),
                    "file" if member.isfile() else "directory",
                )
                entries.append(Entry(path, {"type": kind, "mode": member.mode}, member.size))
                file = tar.extractfile(member)
                if file is not None:
                    contents[path] = file.read()
    manifest = (place / "tar" / "backup_manifest").read_bytes()
    entries.append(Entry("backup_manifest", {"type": "file", "mode": 0o600}, len(manifest)))
    contents["backup_manifest"] = manifest
    shutil.rmtree(place)
    wal = json.loads(manifest)["WAL-Ranges"][-1]
    base = Base(
        id=f"base of {end:%H:%M:%S}",
        lineage=Lineage(system_of(server), major, 1),
        timeline=wal["Timeline"],
        start_lsn=parse_lsn(wal["Start-LSN"]),
        end_lsn=parse_lsn(wal["End-LSN"]),
        begin=begin,
        end=end,
        wal_segment_size=segment_size,
    )
    return StoredBase(base, entries, contents)


@dataclass
class Wal:
    """WAL by (timeline, first LSN); what is short is a tail."""

    segment_size: int = 16 << 20
    segments: dict[tuple[int, int], bytes] = field(default_factory=dict)
    histories: dict[int, bytes] = field(default_factory=dict)
    flush: int = (
        0  # of the server when it was collected: an idle one writes a snapshot of what runs every 15 s
    )

    def collect(self, server: PostgresServer) -> None:
        """Copy what the server has flushed; of the segment it writes, only the flushed bytes."""
        self.flush = flush = flush_of(server)
        for path in sorted((server.data / "pg_wal").iterdir()):
            if path.suffix == ".history":
                self.histories[int(path.stem, 16)] = path.read_bytes()
            if not is_segment_name(path.name):
                continue
            timeline, start = parse_segment_name(path.name, self.segment_size)
            if start < flush:
                self.segments[timeline, start] = path.read_bytes()[: flush - start]

    def stored(self, **more: object) -> StoredWal:
        whole = {key for key, data in self.segments.items() if len(data) == self.segment_size}
        tails = [
            Tail(key[0], key[1], key[1] + len(data))
            for key, data in self.segments.items()
            if key not in whole
        ]
        histories: dict[int, tuple[Ancestor, ...]] = {
            timeline: parse_history(timeline, content) for timeline, content in self.histories.items()
        }
        return StoredWal(self.segment_size, frozenset(whole), tails, histories, **more)  # type: ignore[arg-type]

    def bytes_of(self, plan: SegmentPlan) -> bytes:
        return self.segments[plan.timeline, plan.start][: plan.until - plan.start]

    def stage(self, choice: RecoveryChoice, work: Path) -> None:
        for plan in choice.segments:
            stage_segment(work, plan, [(plan.start, self.bytes_of(plan))], base=choice.base)
        for timeline in choice.histories:
            stage_history(work, timeline, self.histories[timeline])

    def survey(self, choice: RecoveryChoice, last: int = 2) -> Survey:
        plans = choice.segments[-last:]
        walk = RecordWalk(
            [self.bytes_of(plan) for plan in plans],
            start=segment_start(plans[0].start, self.segment_size),
            segment_size=self.segment_size,
            major=choice.base.lineage.major,
            system_identifier=choice.base.lineage.system_identifier,
        )
        return survey(walk, moment=choice.target)


def restore(stored: StoredBase, directory: Path, **options: object) -> dict[str, Path]:
    target = Target(directory, owner(), options)
    return restore_base(stored.entries, stored.pieces(), target, major=stored.base.lineage.major)


def reopen(directory: Path, server: PostgresServer) -> PostgresServer:
    """Return a server on what a recovery left, with its own configuration and the old one's password."""
    return PostgresServer(directory, server.bin_dir, password=server.password, fast=True)


def expected_end(found: Survey) -> Expected:
    assert found.end_lsn is not None
    return Expected("end", found.end_lsn)
