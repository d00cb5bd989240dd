"""Real poolers before a real server: each is named, and never taken for the server."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer, account, give
from drtool.demo.servers.process import Process, free_port, wait_until
from drtool.errors import DrtoolError, SourceUnavailable
from drtool.sources.postgres.checkup import examine
from drtool.sources.postgres.connection import PostgresSettings, Replication, connect
from drtool.sources.postgres.pooler import refuse_pooler
from tests.sources.postgres.conftest import SETTINGS

PATH = "/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin"
BOUNCER = """\
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users
ignore_startup_parameters = extra_float_digits
"""
PGPOOL = """\
listen_addresses = '127.0.0.1'
port = {port}
pcp_port = {other}
backend_hostname0 = '127.0.0.1'
backend_port0 = {server}
enable_pool_hba = on
pool_passwd = '{directory}/pool_passwd'
pid_file_name = '{directory}/pgpool.pid'
socket_dir = '{directory}'
pcp_socket_dir = '{directory}'
wd_ipc_socket_dir = '{directory}'
logdir = '{directory}'
num_init_children = 4
sr_check_period = 0
"""


@pytest.fixture(scope="module")
def server(new_directory: Callable[[], Path]) -> Iterator[PostgresServer]:
    with PostgresServer.create(15, new_directory(), settings=SETTINGS, fast=True) as server:
        yield server


@contextmanager
def running(
    argv: list[str | Path], directory: Path, settings: PostgresSettings
) -> Iterator[PostgresSettings]:
    """Run a pooler as the account of PostgreSQL until the end; yield how to reach the server through it."""
    program = shutil.which(str(argv[0]), path=PATH)
    assert program is not None, f"{argv[0]} is missing: tests/debian-packages installs it"
    give(directory)
    process = Process.start([program, *argv[1:]], directory / "log", user=account(), cwd=directory)
    try:
        wait_until(lambda: answers(settings), f"{argv[0]} answers", deadline_s=30, process=process)
        yield settings
    finally:
        process.stop()


def answers(settings: PostgresSettings) -> bool:
    try:
        with connect(settings) as connection:
            return connection.execute("select 1").fetchone() == (1,)
    except DrtoolError:
        return False


def test_pgpool_is_named_although_it_passes_replication_on(
    server: PostgresServer, new_directory: Callable[[], Path]
) -> None:
    directory, port = new_directory(), free_port()
    (directory / "pool_passwd").write_text(f"postgres:TEXT{server.password}\n")
    (directory / "pool_hba.conf").write_text("host all all all scram-sha-256\n")
    (directory / "pcp.conf").touch()
    places = {"port": port, "other": free_port(), "server": server.port, "directory": directory}
    (directory / "pgpool.conf").write_text(PGPOOL.format(**places))
    files: list[str | Path] = [
        "-f",
        directory / "pgpool.conf",
        "-a",
        directory / "pool_hba.conf",
        "-F",
        directory / "pcp.conf",
    ]
    with running(["pgpool", "-n", *files], directory, replace(server.settings, port=port)) as pooled:
        for _ in range(3):
            with pytest.raises(
                SourceUnavailable, match=f"Pgpool-II answers at postgres@127.0.0.1:{port}"
            ) as caught:
                refuse_pooler(pooled)
            assert "server itself as host" in caught.value.hint
        assert found_wrong(pooled) == [f"Pgpool-II answers at postgres@127.0.0.1:{port}, not PostgreSQL"]


def found_wrong(settings: PostgresSettings) -> list[str]:
    """Return what doctor would say."""
    found = examine(settings, None, "protect-app", "postgres")
    return [symptom.message for symptom in found if symptom.level == "error"]


def test_pgbouncer_is_named(server: PostgresServer, new_directory: Callable[[], Path]) -> None:
    directory, port = new_directory(), free_port()
    (directory / "users").write_text(f'"postgres" "{server.password}"\n')
    (directory / "pgbouncer.ini").write_text(
        BOUNCER.format(port=port, server=server.port, directory=directory)
    )
    with running(
        ["pgbouncer", directory / "pgbouncer.ini"], directory, replace(server.settings, port=port)
    ) as pooled:
        refuse_pooler(pooled)
        with pytest.raises(SourceUnavailable, match="PgBouncer answers") as caught:
            Replication(pooled)
        assert "server itself as host" in caught.value.hint
        (said,) = found_wrong(pooled)
        assert "PgBouncer answers" in said


def test_a_server_is_no_pooler_and_is_asked_nothing_that_it_would_log(server: PostgresServer) -> None:
    before = server.log.read_text().count("pool_version")
    refuse_pooler(server.settings)
    assert server.log.read_text().count("pool_version") == before
