"""The launcher of PostgreSQL: each major starts, ends, dies, and runs from folders that its account cannot enter."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from drtool.demo.servers import postgres
from drtool.demo.servers.postgres import PostgresServer, account, find_bin_dir, private_directory
from drtool.demo.servers.process import ServerFailed
from drtool.errors import Refused
from drtool.sources.postgres.binaries import Binaries


@pytest.fixture
def directory() -> Iterator[Path]:
    made = private_directory("test")
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("major", [15, 17, 18])
def test_a_server_starts_with_its_settings_and_ends_cleanly(directory: Path, major: int) -> None:
    server = PostgresServer.create(
        major, directory, settings={"work_mem": "5MB"}, fast=True, wal_segment_mb=2
    )
    server.start()
    assert server.sql("select current_setting('server_version_num')::int / 10000") == [(major,)]
    assert server.sql("show work_mem") == [("5MB",)]
    assert server.sql("show wal_segment_size") == [("2MB",)]
    assert server.sql("show data_checksums") == [("on",)]
    server.stop()
    assert not server.is_running()
    assert not server.answers()
    assert "database system is shut down" in server.log.read_text()


def test_a_killed_server_leaves_no_process_and_comes_back_by_crash_recovery(directory: Path) -> None:
    server = PostgresServer.create(18, directory, fast=True)
    server.start()
    server.sql("create table kept as select 1 as n")
    assert processes_of(directory)
    server.kill()
    server.kill()
    assert not processes_of(directory)
    with server:
        assert server.sql("select n from kept") == [(1,)]
    assert "was not properly shut down" in server.log.read_text()


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of processes that work in directory/data."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == directory / "data":
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_binaries_in_a_private_folder_are_copied_to_where_the_account_may_enter(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = find_bin_dir(17).parent.parent
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    shutil.copytree(package, private / package.name, symlinks=True)
    private_bin = private / package.name / "pginstall" / "bin"
    found = Binaries(private_bin, 17, None)
    monkeypatch.setattr(postgres, "find_binaries", lambda major, account: found)
    find_bin_dir.cache_clear()
    try:
        server = PostgresServer.create(17, directory, fast=True)
        with server:
            assert server.sql("select 1") == [(1,)]
        assert (server.bin_dir == private_bin) is (account() is None)
    finally:
        find_bin_dir.cache_clear()


def test_a_major_that_is_not_here_is_said() -> None:
    with pytest.raises(Refused, match="no PostgreSQL 99") as missing:
        find_bin_dir(99)
    assert "postgresql-99" in missing.value.hint


def test_a_server_that_cannot_start_shows_its_log(directory: Path) -> None:
    server = PostgresServer.create(18, directory, settings={"shared_buffers": "nonsense"}, fast=True)
    with pytest.raises(ServerFailed, match="nonsense"):
        server.start()


def test_the_password_is_in_no_command_line_and_in_no_repr(directory: Path) -> None:
    server = PostgresServer.create(18, directory, fast=True)
    with server:
        lines = [path.read_bytes() for path in Path("/proc").glob(f"{server._process.pid}/cmdline")]  # type: ignore[union-attr]
        assert server.password.encode() not in b"".join(lines)
        assert server.password not in repr(server.settings)
