"""Real Redis servers of both versions, empty, one for each test."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from redis import Redis

from drtool.demo.servers.redis import RedisServer, redis_program
from tests.sources.redis.support import QUICK, Launch


@pytest.fixture(params=["6.2", "7.0"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def launch(tmp_path: Path, version: str) -> Iterator[Launch]:
    """Start servers of the version under test; all are killed at the end."""
    servers: list[RedisServer] = []

    def start(
        settings: Mapping[str, str] | None = None, *, password: str = "", version: str = version
    ) -> RedisServer:
        directory = tmp_path / f"server-{len(servers)}"
        server = RedisServer.create(
            redis_program(version), directory, QUICK | dict(settings or {}), password=password
        )
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def client() -> Iterator[Callable[..., Redis]]:
    """Connect the tests' own client."""
    clients: list[Redis] = []

    def connect(server: RedisServer, db: int = 0) -> Redis:
        one = Redis(port=server.port, password=server.password or None, db=db)
        clients.append(one)
        return one

    yield connect
    for one in clients:
        one.close()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start Sentinels that watch a server; all are killed at the end."""
    made: list[RedisServer] = []

    def start(master: RedisServer, **settings: str) -> RedisServer:
        sentinel = RedisServer.create_sentinel(
            redis_program("7.0"), tmp_path / f"sentinel-{len(made)}", master
        )
        sentinel.settings = {**sentinel.settings, **settings}
        made.append(sentinel)
        sentinel.start()
        return sentinel

    yield start
    for sentinel in made:
        sentinel.kill()
