"""Proofs of restored directories: they hold for good data, and fail for each thing that can be wrong."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.redis import RedisServer
from drtool.errors import Corrupt, NotProven, SourceUnavailable
from drtool.sources.base import Target
from drtool.sources.redis import compare
from drtool.sources.redis.capture import RedisSource
from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.prove import prove, take_census
from tests.sources.redis.support import Connect, Launch, Point, fill, settings_of, take

_HELD = """
import signal, sys, tempfile
from pathlib import Path
from drtool.sources.base import Target
from drtool.sources.redis.layout import Layout, parse_version
from drtool.sources.redis.prove import Rehearsal

tempfile.tempdir, directory, program, version = sys.argv[1:]
layout = Layout.of({"version": version}, {"appendonly": "no"})
rehearsal = Rehearsal(Target(Path(directory)), layout, Path(program), parse_version(version), 16)
with rehearsal.server(appendonly="no"):
    print("ready", flush=True)
    signal.pause()
"""
LIBRARY = "#!lua name=greet\nredis.register_function('hello', function() return 'hi' end)"


@pytest.fixture
def filled(launch: Launch, client: Connect) -> RedisServer:
    server = launch()
    fill(client, server, int(datetime.now(UTC).timestamp() * 1000))
    return server


def restored(source: RedisServer, directory: Path, **options: Any) -> tuple[Target, Point]:
    target = Target(directory, options=options)
    point = take(settings_of(source))
    RedisSource(settings_of(source)).restore(point.entries, point.pieces(65_536), target)
    return target, point


def state(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_all_proofs_hold_and_change_nothing(
    filled: RedisServer, client: Connect, tmp_path: Path, version: str
) -> None:
    if version == "7.0":
        client(filled).function_load(LIBRARY)
    target, point = restored(filled, tmp_path / "target")
    before = state(target.directory)
    proofs = list(RedisSource(settings_of(filled)).prove(target, point.captured.facts))
    assert [proof for proof in proofs if not proof.ok] == []
    assert len(proofs) == {"6.2": 9, "7.0": 10}[version]
    assert "db0 317, db5 317" in proofs[1].expected
    assert proofs[4].expected == f"{proofs[4].expected.split()[0]} of {proofs[4].expected.split()[0]} equal"
    assert int(proofs[4].expected.split()[0]) > 80
    assert state(target.directory) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".drtool")] == []


def test_keys_whose_time_has_passed_are_counted_and_then_gone(
    launch: Launch, client: Connect, tmp_path: Path
) -> None:
    server = launch()
    redis = client(server)
    redis.mset({f"kept:{index}": index for index in range(50)})
    for index in range(200):
        redis.set(f"short:{index}", index, px=700)
    target, point = restored(server, tmp_path / "target")
    time.sleep(0.8)  # the keys' own time has to pass
    proofs = list(prove(target, point.captured.facts))
    assert [proof for proof in proofs if not proof.ok] == []
    assert proofs[1].actual == "db0 250"
    assert {proof.actual for proof in proofs[-4:]} == {"db0 50"}


def test_an_empty_point_is_proven(launch: Launch, tmp_path: Path) -> None:
    target, point = restored(launch(), tmp_path / "target")
    proofs = list(prove(target, point.captured.facts))
    assert [proof for proof in proofs if not proof.ok] == []
    assert proofs[1].actual == "none"


def test_another_rdb_than_the_captured_one_is_noticed(
    filled: RedisServer, client: Connect, tmp_path: Path
) -> None:
    point = take(settings_of(filled))
    client(filled).set("one", "more")
    target, _ = restored(filled, tmp_path / "target")
    assert next(prove(target, point.captured.facts)).ok is False


def test_a_damaged_rdb_is_corrupt(filled: RedisServer, tmp_path: Path) -> None:
    target, point = restored(filled, tmp_path / "target")
    rdb = target.directory / "dump.rdb"
    rdb.write_bytes(point.rdb[:5000] + bytes([point.rdb[5000] ^ 4]) + point.rdb[5001:])
    with pytest.raises(Corrupt, match="checksum"):
        next(prove(target, point.captured.facts))


def test_a_log_without_the_data_is_noticed(filled: RedisServer, tmp_path: Path, version: str) -> None:
    target, point = restored(filled, tmp_path / "target", appendonly="yes")
    if version == "6.2":
        (target.directory / "appendonly.aof").write_bytes(b"")
    else:
        for path in (target.directory / "appendonlydir").iterdir():
            path.unlink()
    wrong = [proof for proof in prove(target, point.captured.facts) if not proof.ok]
    assert [proof.actual for proof in wrong] == ["none", "none"]


CHANGES = [
    ("keys in each database", ("DEL", "bytes")),
    ("keys in each database", ("COPY", "bytes", "new", "DB", "7")),
    ("keys of each type", ("RENAME", "hash:3", "numbers:3")),
    ("times to live", ("PEXPIREAT", "session:{index}", "4000000000000")),
    ("values", ("SETRANGE", "bytes", "3", "!")),
    ("values", ("LSET", "list:700", "300", "!")),
    ("values", ("SETRANGE", "big", "1400000", "!!!")),
    ("values", ("SREM", "words:700", "0")),
    ("values", ("XACK", "stream", "workers", "1004-1")),
    ("keys now", ("DEL", "scores:3")),
    ("keys now", ("COPY", "bytes", "new")),
]


@pytest.mark.parametrize(
    ("name", "change"), CHANGES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_any_difference_between_server_and_rdb_is_noticed(
    filled: RedisServer, tmp_path: Path, version: str, name: str, change: tuple[str, ...]
) -> None:
    rdb = tmp_path / "dump.rdb"
    rdb.write_bytes(take(settings_of(filled)).rdb)
    with filled.connect() as connection:
        census, _ = take_census(rdb, compare.clock_ms(connection), "seed")
        before = _proofs(connection, census, version)
        for index in range(300) if "{index}" in change[1] else [0]:
            connection.call("SELECT", 0)
            connection.call(*(word.format(index=index) for word in change))
        after = _proofs(connection, census, version)
    assert [proof for proof in before if not proof.ok] == []
    assert [proof for proof in after if not proof.ok and proof.name.startswith(name)]


def _proofs(connection: Any, census: Any, version: str) -> list[Any]:
    return [
        compare.all_keys(connection, census),
        compare.kinds(connection, census),
        compare.expiries(connection, census, exact=version == "7.0"),
        compare.values(connection, census, "seed"),
        compare.alive_keys(connection, census, "now"),
    ]


@pytest.mark.parametrize("version", ["7.0"])
def test_a_changed_function_is_noticed(launch: Launch, client: Connect) -> None:
    server = launch()
    client(server).function_load(LIBRARY)
    with server.connect() as connection:
        assert compare.functions(connection, [LIBRARY.encode()]).ok
        assert not compare.functions(connection, [LIBRARY.replace("hi", "ho").encode()]).ok
        assert not compare.functions(connection, []).ok


def test_a_target_with_too_few_databases_is_not_proven(filled: RedisServer, tmp_path: Path) -> None:
    target, point = restored(filled, tmp_path / "target", databases=2)
    with pytest.raises(NotProven, match="does not start"):
        list(prove(target, point.captured.facts))


@pytest.mark.parametrize("server", ["/bin/true", "/does/not/exist"])
def test_a_program_that_is_no_server_proves_nothing(filled: RedisServer, tmp_path: Path, server: str) -> None:
    target, point = restored(filled, tmp_path / "target", server=server)
    with pytest.raises(NotProven, match="no redis-server"):
        list(prove(target, point.captured.facts))


@pytest.mark.parametrize("version", ["7.0"])
def test_a_server_of_another_age_proves_nothing(launch: Launch, tmp_path: Path) -> None:
    old = os.fspath(launch(version="6.2").program)
    target, point = restored(launch(), tmp_path / "target", server=old)
    with pytest.raises(NotProven, match=r"is 6\.2"):
        list(prove(target, point.captured.facts))


@contextmanager
def held(target: Target, room: Path, program: Path, version: str) -> Iterator[subprocess.Popen[bytes]]:
    """Prove target in a process of its own, which stops amid that; room is its folder of temporary files."""
    arguments = list(map(str, (room, target.directory, program, version)))
    with subprocess.Popen([sys.executable, "-c", _HELD, *arguments], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def test_what_a_killed_proof_left_is_ended_and_cleared_away(
    filled: RedisServer, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is a server with all of the data in its memory, and a copy of the data beside the target."""
    room = tmp_path / "t"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    target, point = restored(filled, tmp_path / "target")

    def ours() -> set[Path]:
        return {path for path in (*room.iterdir(), *tmp_path.iterdir()) if "drtool" in path.name}

    with held(target, room, filled.program, version) as process:
        [endpoint], at_work = [Endpoint(str(path / "socket")) for path in room.iterdir()], ours()
        assert len(at_work) == 2
        assert all(proof.ok for proof in prove(target, point.captured.facts))
        assert ours() == at_work
        process.kill()
        process.wait()
        Connection(endpoint, Access()).close()
        assert all(proof.ok for proof in prove(target, point.captured.facts))
        assert ours() == set()
        with pytest.raises(SourceUnavailable):
            Connection(endpoint, Access())
