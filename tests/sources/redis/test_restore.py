"""Restores into data directories that real servers are then started on."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.redis import RedisServer, redis_program
from drtool.errors import Corrupt, Refused
from drtool.sources.base import Entry, Target
from drtool.sources.redis.restore import TEMPORARY, restore, undo
from tests.sources.redis.support import QUICK, Connect, Launch, Point, contents, fill, settings_of, take

CUSTOM = {"dbfilename": "data.rdb", "appendfilename": "Appendonly.aof"}


@pytest.fixture
def filled(launch: Launch, client: Connect) -> RedisServer:
    server = launch()
    fill(client, server, int(datetime.now(UTC).timestamp() * 1000))
    return server


@pytest.fixture
def point(launch: Launch) -> Point:
    return take(settings_of(launch()))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """Give an empty directory to restore into."""
    directory = tmp_path / "empty"
    directory.mkdir()
    return directory


def listing(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("appendonly", ["yes", "no"])
@pytest.mark.parametrize("custom", [{}, CUSTOM], ids=["own names", "other names"])
def test_a_server_starts_with_all_data_and_keeps_it_through_a_kill(
    filled: RedisServer,
    client: Connect,
    tmp_path: Path,
    version: str,
    appendonly: str,
    custom: dict[str, str],
) -> None:
    if custom and version == "7.0":
        custom = {**custom, "appenddirname": "log"}
    held = contents(client, filled)
    point = take(settings_of(filled))
    again = RedisServer.create(
        redis_program(version),
        tmp_path / "again",
        {**QUICK, "appendonly": appendonly, "appendfsync": "always", **custom},
    )
    restore(point.entries, point.pieces(), Target(again.data, options=custom))
    try:
        for _ in range(2):
            again.start()
            assert contents(client, again) == held
            client(again).set("written later", "1")
            client(again).delete("written later")
            again.kill()
    finally:
        again.kill()


def test_what_cannot_be_taken_back_is_told(
    point: Point, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(tmp_path / "target")
    (target.directory / TEMPORARY).mkdir(parents=True)
    (target.directory / TEMPORARY / "data").touch()

    def held(*_arguments: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", held)
        with pytest.raises(PermissionError):
            undo(point.entries, target)
    undo(point.entries, target)
    assert list(target.directory.iterdir()) == []


def test_the_files_are_private_and_belong_to_the_owner(point: Point, tmp_path: Path) -> None:
    owner = (4321, 8765) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    restore(point.entries, point.pieces(), Target(tmp_path / "data", owner))
    for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == owner
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("version", "options", "files"),
    [
        ("6.2", {}, ["appendonly.aof", "dump.rdb"]),
        ("6.2", {"appendonly": "no"}, ["dump.rdb"]),
        ("7.0", {"appendonly": "no", **CUSTOM}, ["data.rdb"]),
        (
            "7.0",
            {"appendonly": "yes"},
            ["appendonlydir/appendonly.aof.1.base.rdb", "appendonlydir/appendonly.aof.manifest", "dump.rdb"],
        ),
        (
            "6.2",
            {"version": "7.2.4", **CUSTOM, "appenddirname": "log"},
            ["data.rdb", "log/Appendonly.aof.1.base.rdb", "log/Appendonly.aof.manifest"],
        ),
    ],
)
def test_the_target_decides_which_files_there_are(
    point: Point, tmp_path: Path, options: dict[str, Any], files: list[str]
) -> None:
    written = restore(point.entries, point.pieces(), Target(tmp_path / "data", options=options))
    assert listing(tmp_path / "data") == ["acl.txt", *sorted(["config.txt", *files])]
    assert written == {"files": listing(tmp_path / "data"), "crc": point.captured.facts["crc"]}


def test_the_file_that_a_server_appends_to_is_not_the_rdb_itself(
    point: Point, empty: Path, version: str
) -> None:
    restore(point.entries, point.pieces(), Target(empty))
    log = empty / ("appendonly.aof" if version == "6.2" else "appendonlydir/appendonly.aof.1.base.rdb")
    assert log.samefile(empty / "dump.rdb") == (version != "6.2")
    assert log.read_bytes() == point.rdb


@pytest.mark.parametrize("version", ["7.0"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"version": "6.2.14"}, "cannot read RDB version 10"),
        ({"version": "valkey"}, "no version"),
        ({"appendfilename": "../evil"}, "no plain file name"),
        ({"dbfilename": "a b"}, "no plain file name"),
        ({"appendonly": "maybe"}, "appendonly"),
    ],
)
def test_a_target_that_cannot_take_it_is_refused_untouched(
    point: Point, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says):
        restore(point.entries, point.pieces(), Target(tmp_path / "data", options=options))
    assert not (tmp_path / "data").exists()


def test_a_directory_with_data_is_refused_untouched(point: Point, empty: Path) -> None:
    (empty / "dump.rdb").write_bytes(b"old")
    with pytest.raises(Refused, match=r"not empty: it holds dump.rdb"):
        restore(point.entries, point.pieces(), Target(empty))
    assert listing(empty) == ["dump.rdb"]


def test_what_a_new_disk_or_a_killed_restore_holds_is_no_data(point: Point, empty: Path) -> None:
    (empty / "lost+found").mkdir()
    (empty / TEMPORARY).mkdir()
    (empty / TEMPORARY / "dump.rdb").write_bytes(b"half")
    restore(point.entries, point.pieces(), Target(empty))
    assert (empty / "dump.rdb").read_bytes() == point.rdb
    assert not (empty / TEMPORARY).exists()


def test_too_little_room_is_refused_untouched(point: Point, tmp_path: Path) -> None:
    entries = [Entry(one.path, one.entry, 10**18) for one in point.entries]
    with pytest.raises(Refused, match="are needed"):
        restore(entries, point.pieces(), Target(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda rdb: rdb[:-1], "breaks off", id="one byte short"),
        pytest.param(lambda rdb: rdb[:20], "breaks off", id="short"),
        pytest.param(lambda rdb: b"", "breaks off", id="empty"),
        pytest.param(lambda rdb: b"\0" * len(rdb), "does not begin", id="zeros"),
        pytest.param(
            lambda rdb: rdb[:40] + bytes([rdb[40] ^ 1]) + rdb[41:], "checksum", id="bit in the head"
        ),
        pytest.param(lambda rdb: rdb[:-1] + bytes([rdb[-1] ^ 0x80]), "checksum", id="bit in the checksum"),
        pytest.param(lambda rdb: rdb.replace(b"REDIS00", b"REDIS01", 1), "checksum", id="other version"),
    ],
)
@pytest.mark.parametrize("version", ["7.0"])
def test_a_damaged_rdb_leaves_the_directory_as_it_was(
    point: Point, tmp_path: Path, change: Callable[[bytes], bytes], says: str
) -> None:
    (tmp_path / "there").mkdir()
    altered = point.altered(change(point.rdb))
    for directory in (tmp_path / "there", tmp_path / "new"):
        with pytest.raises(Corrupt, match=says):
            restore(altered.entries, altered.pieces(), Target(directory))
    assert list((tmp_path / "there").iterdir()) == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("version", ["7.0"])
def test_a_missing_piece_is_noticed_even_without_a_checksum(launch: Launch, tmp_path: Path) -> None:
    point = take(settings_of(launch({"rdbchecksum": "no"})))
    with pytest.raises(Corrupt, match="short"):
        restore(point.entries, point.pieces(size=10)[1:], Target(tmp_path / "data"))


@pytest.mark.parametrize("version", ["7.0"])
def test_a_point_without_an_rdb_is_refused(point: Point, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no RDB"):
        restore([one for one in point.entries if one.path != "dump.rdb"], [], Target(tmp_path))


@pytest.mark.parametrize("version", ["7.0"])
def test_a_path_that_leads_outside_is_refused(point: Point, tmp_path: Path) -> None:
    entries = [*point.entries, Entry("../outside", {"type": "file"}, 0)]
    with pytest.raises(Corrupt, match="outside"):
        restore(entries, point.pieces(), Target(tmp_path / "data"))
    assert not (tmp_path / "outside").exists()
