"""Base backups of real servers: what they hold recovers, and what ends early or damaged is not called whole."""

import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer, give, run
from drtool.errors import SourceUnavailable
from drtool.sources.base import RELATION_CHUNK, STREAM_CHUNK
from drtool.sources.postgres.base_backup import REQUIRED, BackupOptions, BaseBackup
from drtool.sources.postgres.facts import server_time
from drtool.sources.postgres.receiver import Receiver
from drtool.sources.postgres.slot import drop_slot, make_slot
from drtool.sources.postgres.wal import parse_lsn
from tests.sources.postgres.standins import (
    MemorySink,
    NewServer,
    move_tablespaces,
    restored,
    start_of,
    take_base_backup,
)

Directories = Callable[[], Path]


@pytest.fixture
def slot(server: PostgresServer) -> str:
    return make_slot(server.settings, "drtool_test_postgres").name


def test_a_base_backup_with_its_wal_recovers_every_row_in_every_tablespace(
    server: PostgresServer, slot: str, new_directory: Directories
) -> None:
    space, target, sink = new_directory(), new_directory(), MemorySink()
    server.sql(f"create tablespace other location '{space}'")
    server.sql("create table near as select generate_series(1, 1000) as n")
    server.sql("create table far tablespace other as select generate_series(1, 1000) as n")

    start = start_of(server)
    facts = take_base_backup(server, target / "data")
    server.sql("insert into near select generate_series(1001, 2000)")
    server.sql("insert into far select generate_series(1001, 2000)")
    received = Receiver(server.settings, slot, start, sink).catch_up()
    drop_slot(server.settings, slot)
    server.sql("drop table near, far")
    server.sql("drop tablespace other")

    give(target)
    run([server.bin_dir / "pg_verifybackup", "-n", target / "data"], cwd=target)
    move_tablespaces(target / "data", target)
    sink.write_to(target / "data" / "pg_wal", int(str(facts["wal_segment_size"])))
    with restored(server, target / "data") as copy:
        assert copy.sql("select count(*), max(n) from near") == [(2000, 2000)]
        assert copy.sql("select count(*), max(n) from far") == [(2000, 2000)]
    assert received.lsn >= parse_lsn(str(facts["end_lsn"])) > parse_lsn(str(facts["start_lsn"]))
    assert [each["location"] for each in facts["tablespaces"]] == [str(space)]  # type: ignore[attr-defined]


def test_pg_verifybackup_sees_a_byte_that_was_lost_on_the_way(
    server: PostgresServer, new_directory: Directories
) -> None:
    target = new_directory()
    take_base_backup(server, target / "data")
    relation = target / "data" / "global" / "1262"
    relation.write_bytes(relation.read_bytes()[:-1])
    give(target)
    with pytest.raises(subprocess.CalledProcessError):
        run([server.bin_dir / "pg_verifybackup", "-n", target / "data"], cwd=target)


def test_a_role_with_only_replication_takes_a_base_backup_and_says_what_it_could_not_read(
    server: PostgresServer,
) -> None:
    progress: list[tuple[int, int]] = []
    options = BackupOptions(
        "only 'replication'", on_progress=lambda done, total: progress.append((done, total))
    )
    settings = server.settings_for("replicator", "secret")
    with BaseBackup(settings, options) as backup:
        artifacts = {artifact.path: artifact for artifact in backup}  # unread streams are skipped
        result = backup.result()
    assert set(artifacts) >= REQUIRED
    assert artifacts["global/1262"].chunk_size == RELATION_CHUNK
    assert artifacts["backup_label"].chunk_size == STREAM_CHUNK
    assert artifacts["pg_wal"].entry["type"] == "directory"
    assert list(artifacts)[-1] == "backup_manifest"
    done, total = progress[-1]
    assert 0 < done <= total
    assert result.begin < result.end
    assert result.facts["major"] == int(str(server.sql("show server_version_num")[0][0])[:2])
    assert result.facts["settings"]["max_connections"] == "100"
    assert "setting shared_preload_libraries" in result.facts["not_read"]
    assert "degraded" not in result.facts


def test_unlogged_tables_are_named_because_they_come_back_empty(server: PostgresServer) -> None:
    server.sql("create unlogged table cache (n int)")
    with BaseBackup(server.settings, BackupOptions("test")) as backup:
        deque(backup, maxlen=0)
        facts = backup.result().facts
    server.sql("drop table cache")
    database = next(each for each in facts["databases"] if each["name"] == "postgres")
    assert (database["unlogged_tables"], database["unlogged_names"]) == (1, ["cache"])
    assert facts["not_read"] == {}


def test_damaged_pages_leave_a_whole_backup_that_is_called_degraded(new_server: NewServer) -> None:
    server = new_server()
    server.start()
    server.sql("create table damaged as select generate_series(1, 5000) as n")
    path = server.data / server.sql("select pg_relation_filepath('damaged')")[0][0]
    server.stop()
    content = bytearray(path.read_bytes())
    content[8192 + 4000] ^= 0xFF
    path.write_bytes(content)
    server.start()
    with BaseBackup(server.settings, BackupOptions("test")) as backup:
        paths = {artifact.path for artifact in backup}
        facts = backup.result().facts
    assert paths >= REQUIRED
    assert "checksum" in facts["degraded"]
    assert path.name in facts["degraded"]
    assert parse_lsn(facts["end_lsn"]) > parse_lsn(facts["start_lsn"])


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("backend ended", "(terminating connection|server closed the connection)"),
        ("server killed", "server closed the connection unexpectedly"),
    ],
)
def test_a_backup_whose_server_dies_is_no_backup(new_server: NewServer, how: str, why: str) -> None:
    server = new_server()
    server.start()
    server.sql("create table big as select repeat('x', 1000) as x from generate_series(1, 50000)")
    with BaseBackup(server.settings, BackupOptions("test")) as backup:
        artifacts = iter(backup)
        next(artifacts)
        if how == "server killed":
            server.kill()
        else:
            server.sql("select pg_terminate_backend(pid) from pg_stat_replication")
        with pytest.raises(SourceUnavailable, match=why):
            deque(artifacts, maxlen=0)
        with pytest.raises(SourceUnavailable, match="did not come to its end"):
            backup.result()


def test_a_clock_that_is_refused_at_the_end_does_not_undo_the_backup(
    server: PostgresServer, new_directory: Directories
) -> None:
    settings = server.settings_for("replicator", "secret")
    try:
        with BaseBackup(settings, BackupOptions("test")) as backup:
            artifacts = iter(backup)
            deque(next(artifacts).stream, maxlen=0)
            server.sql("revoke execute on function clock_timestamp() from public")
            with pytest.raises(SourceUnavailable, match="permission denied for function clock_timestamp"):
                server_time(settings)
            for artifact in artifacts:
                deque(artifact.stream, maxlen=0)
            captured = backup.result()
    finally:
        server.sql("grant execute on function clock_timestamp() to public")
    assert captured.begin < captured.end
