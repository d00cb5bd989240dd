"""The server that a proof starts: which program it is, and that nothing of it stays."""

from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.redis import redis_program
from drtool.errors import SourceUnavailable
from drtool.sources.redis.connection import Access, Connection
from drtool.sources.redis.info import Info
from drtool.sources.redis.layout import Layout
from drtool.sources.redis.server import ScratchServer, find_server


def layout(version: str) -> Layout:
    return Layout.of({"version": version}, {})


def test_the_targets_own_version_is_found(version: str) -> None:
    program, found = find_server(layout(version), 9)
    assert f"{found[0]}.{found[1]}" == version
    assert program.samefile(redis_program(version))


def test_a_folder_of_path_that_is_closed_is_passed_over(
    as_user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = as_user / "closed"
    closed.mkdir(mode=0)
    monkeypatch.setenv("PATH", str(closed))
    assert find_server(layout("7.0"), 10)[1] == (7, 0)  # of /usr/bin, where everybody looks


def test_a_later_server_of_the_same_layout_will_do_where_there_is_no_other() -> None:
    assert find_server(layout("7.0.5"), 10, redis_program("7.0"))[1] == (7, 0)
    assert find_server(layout("6.0"), 9, redis_program("6.2"))[1] == (6, 2)


def test_a_restart_is_one_and_nothing_stays(version: str, tmp_path: Path) -> None:
    with ScratchServer(redis_program(version), tmp_path, {"appendonly": "yes"}) as server:
        connection: Any = server.connection
        connection.call("SET", "key", "value")
        first = Info.of(server.connection).text("run_id")
        server.kill_and_restart()
        assert Info.of(server.connection).text("run_id") != first
        assert server.connection.call("GET", "key") == b"value"
        endpoint = server.connection.endpoint
    assert not Path(endpoint.host).parent.exists()
    with pytest.raises(SourceUnavailable):
        Connection(endpoint, Access())
