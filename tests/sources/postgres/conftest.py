"""Real PostgreSQL servers: one of each major for the session, and fresh ones for tests that break theirs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer, private_directory
from tests.sources.postgres.standins import NewServer

MAJORS = (15, 17, 18)
SETTINGS = {
    "max_slot_wal_keep_size": "1GB",
    "wal_sender_timeout": "2s",
    "wal_keep_size": "256MB",
    "autovacuum": "off",
}


@pytest.fixture(scope="session")
def new_directory() -> Iterator[Callable[[], Path]]:
    """Directories that PostgreSQL's account may enter; pytest's own are closed to it."""
    made: list[Path] = []

    def make() -> Path:
        made.append(private_directory("test"))
        return made[-1]

    yield make
    for directory in made:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", params=MAJORS, ids=lambda major: f"postgresql-{major}")
def server(request: pytest.FixtureRequest, new_directory: Callable[[], Path]) -> Iterator[PostgresServer]:
    """A running server of each major, shared: leave no slot behind, and stop nothing."""
    shared = PostgresServer.create(request.param, new_directory(), settings=SETTINGS, fast=True)
    with shared:
        shared.sql("create role replicator login replication password 'secret'")
        yield shared


@pytest.fixture
def new_server(new_directory: Callable[[], Path]) -> Iterator[NewServer]:
    """Make a server of one's own, not started; it is stopped at the end, however the test goes."""
    made: list[PostgresServer] = []

    def make(major: int = 18, wal_segment_mb: int = 1, **settings: object) -> PostgresServer:
        server = PostgresServer.create(
            major,
            new_directory(),
            settings={**SETTINGS, **settings},
            fast=True,
            wal_segment_mb=wal_segment_mb,
        )
        made.append(server)
        return server

    yield make
    for server in made:
        server.kill()
