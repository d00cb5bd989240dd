"""A base backup into a directory: what pg_basebackup took comes back byte by byte, or nothing is touched."""

import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer, private_directory
from drtool.errors import Corrupt, Refused
from drtool.sources.base import Entry, Piece, Target
from drtool.sources.postgres.layout import (
    MARKER,
    PG_CONTROL,
    format_tablespace_map,
)
from drtool.sources.postgres.prove import prove_files
from drtool.sources.postgres.restore import TargetWriter, restore_base
from tests.sources.postgres.stored import SETTINGS, StoredBase, binaries_of, owner, restore, take_base


@pytest.fixture(scope="module", params=[15, 17, 18])
def stored(request: pytest.FixtureRequest) -> Iterator[tuple[StoredBase, PostgresServer]]:
    directory, space = private_directory("base"), private_directory("space")
    server = PostgresServer.create(request.param, directory, settings=SETTINGS, fast=True)
    try:
        with server:
            server.sql(f"create tablespace elsewhere location '{space}'")
            server.sql("create table kept (n int) tablespace elsewhere")
            server.sql("insert into kept select generate_series(1, 1000)")
            yield take_base(server, request.param), server
    finally:
        shutil.rmtree(directory)
        shutil.rmtree(space)


@pytest.fixture
def place() -> Iterator[Path]:
    directory = private_directory("target")
    yield directory
    shutil.rmtree(directory)


def parse_tablespace_map(content: bytes) -> dict[str, str]:
    """Return location by oid. A backslash escapes what follows it. xlogrecovery.c, read_tablespace_map."""
    lines = [line for line in re.split(r"(?<!\\)\n", content.decode()) if line]
    pairs = [line.split(" ", 1) for line in lines]
    return {oid: re.sub(r"\\(.)", r"\1", location, flags=re.DOTALL) for oid, location in pairs}


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_every_byte_comes_back_and_the_manifest_agrees(
    stored: tuple[StoredBase, PostgresServer], place: Path
) -> None:
    base, server = stored
    spaces = restore(base, place / "data")
    for path, content in base.contents.items():
        if path != "tablespace_map":
            assert (place / "data" / path).read_bytes() == content, path
    ((oid, space),) = spaces.items()
    assert space == place / "data-tablespaces" / oid
    assert (place / "data" / "pg_tblspc" / oid).readlink() == space
    assert parse_tablespace_map((place / "data" / "tablespace_map").read_bytes()) == {oid: str(space)}
    proof = prove_files(binaries_of(server, base.base.lineage.major), place / "data")
    assert proof.ok, proof.actual


def test_modes_owners_and_empty_directories_are_what_a_server_wants(
    stored: tuple[StoredBase, PostgresServer], place: Path
) -> None:
    base, _ = stored
    restore(base, place / "data")
    who = owner() or (os.geteuid(), os.getegid())
    for path in [place / "data", *(place / "data").rglob("*"), *(place / "data-tablespaces").glob("*/**/*")]:
        stat = path.lstat()
        assert (stat.st_uid, stat.st_gid) == who, path
        assert path.is_symlink() or stat.st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert sorted(files_below(place / "data" / "pg_wal")) == sorted(
        ["archive_status", "summaries"] if base.base.lineage.major >= 17 else ["archive_status"]
    )
    assert (place / "data" / "pg_replslot").is_dir()
    assert not (place / "data" / MARKER).exists()


@pytest.mark.parametrize("key", ["oid", "location"])
def test_a_tablespace_goes_where_it_is_told(
    stored: tuple[StoredBase, PostgresServer], place: Path, key: str
) -> None:
    base, _ = stored
    ((oid, location),) = parse_tablespace_map(base.contents["tablespace_map"]).items()
    spaces = restore(
        base, place / "data", tablespace_map={oid if key == "oid" else location: str(place / "fast disk")}
    )
    assert spaces == {oid: place / "fast disk"}
    assert list((place / "fast disk").iterdir())


@pytest.mark.parametrize("wanted", [{"1": "/tmp/x"}, {"{oid}": "relative"}, {"{oid}": "{data}/inside"}])
def test_a_tablespace_that_cannot_be_placed_is_refused(
    stored: tuple[StoredBase, PostgresServer], place: Path, wanted: dict[str, str]
) -> None:
    base, _ = stored
    ((oid, _),) = parse_tablespace_map(base.contents["tablespace_map"]).items()
    mapping = {name.format(oid=oid): to.format(data=place / "data") for name, to in wanted.items()}
    with pytest.raises(Refused, match="tablespace"):
        restore(base, place / "data", tablespace_map=mapping)
    assert not (place / "data").exists()


def test_pieces_may_come_from_several_threads(stored: tuple[StoredBase, PostgresServer], place: Path) -> None:
    base, server = stored
    major = base.base.lineage.major
    writer = TargetWriter(Target(place / "data", owner()), major=major)
    writer.check(base.entries)
    writer.begin()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(writer.write, base.pieces()))
    writer.finish()
    assert prove_files(binaries_of(server, major), place / "data").ok


def test_until_it_is_whole_there_is_a_marker_and_no_pg_control(
    stored: tuple[StoredBase, PostgresServer], place: Path
) -> None:
    base, _ = stored
    pieces = list(base.pieces())
    writer = TargetWriter(Target(place / "data", owner()), major=base.base.lineage.major)
    writer.check(base.entries)
    writer.begin()
    for piece in pieces[:-1]:
        writer.write(piece)
    with pytest.raises(Corrupt, match=rf"{pieces[-1].path} came back with 0 of \d+ bytes"):
        writer.finish()
    assert (place / "data" / MARKER).exists()
    assert not (place / "data" / PG_CONTROL).exists()
    with pytest.raises(Refused, match="an earlier restore did not end"):
        restore(base, place / "data")


@pytest.mark.parametrize("what", ["data/file", "data/postmaster.pid", "data-tablespaces/{oid}/file"])
def test_a_target_that_is_not_empty_is_refused_and_not_touched(
    stored: tuple[StoredBase, PostgresServer], place: Path, what: str
) -> None:
    base, _ = stored
    ((oid, _),) = parse_tablespace_map(base.contents["tablespace_map"]).items()
    file = place / what.format(oid=oid)
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    before = files_below(place)
    with pytest.raises(Refused, match="is not empty"):
        restore(base, place / "data")
    assert files_below(place) == before
    assert file.read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_target_that_is_no_directory_is_refused(
    stored: tuple[StoredBase, PostgresServer], place: Path, kind: str
) -> None:
    if kind == "file":
        (place / "data").touch()
    else:
        (place / "other").mkdir()
        (place / "data").symlink_to(place / "other")
    with pytest.raises(Refused, match="is no directory"):
        restore(stored[0], place / "data")


def test_a_target_without_room_is_refused_and_not_touched(
    stored: tuple[StoredBase, PostgresServer], place: Path
) -> None:
    base, _ = stored
    with pytest.raises(Refused, match=r"for the base backup, 1024 PiB for the WAL, 1024 PiB for what"):
        restore_base(base.entries, [], Target(place / "data"), major=18, wal_bytes=1 << 60)
    assert not (place / "data").exists()


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "base/../../out", "", "a\0b", ".", MARKER])
def test_a_path_that_leaves_the_target_is_corrupt(
    stored: tuple[StoredBase, PostgresServer], place: Path, path: str
) -> None:
    entries = [*stored[0].entries, Entry(path, {"type": "file"}, 1)]
    with pytest.raises(Corrupt, match="the point holds"):
        restore_base(entries, [], Target(place / "data"), major=18)
    assert not (place / "data").exists()


def test_a_link_is_corrupt(stored: tuple[StoredBase, PostgresServer], place: Path) -> None:
    entries = [*stored[0].entries, Entry("base/9", {"type": "symlink", "target": "/etc"}, 0)]
    with pytest.raises(Corrupt, match="has a link"):
        restore_base(entries, [], Target(place / "data"), major=18)


@pytest.mark.parametrize("lost", ["backup_label", PG_CONTROL])
def test_a_point_without_label_or_control_file_is_corrupt(
    stored: tuple[StoredBase, PostgresServer], place: Path, lost: str
) -> None:
    base = replace(stored[0], entries=[each for each in stored[0].entries if each.path != lost])
    with pytest.raises(Corrupt, match=f"has no {lost}"):
        restore(base, place / "data")


@pytest.mark.parametrize(
    ("piece", "fault"),
    [
        (Piece("nothing/like/it", 0, b"x"), "no file of it"),
        (Piece("PG_VERSION", 2, b"12"), "behind the end"),
        (Piece("PG_VERSION", -1, b"1"), "behind the end"),
    ],
)
def test_bytes_that_belong_nowhere_are_corrupt(
    stored: tuple[StoredBase, PostgresServer], place: Path, piece: Piece, fault: str
) -> None:
    with pytest.raises(Corrupt, match=fault):
        restore_base(stored[0].entries, [piece], Target(place / "data"), major=18)


def test_one_changed_byte_is_found_by_the_manifest(
    stored: tuple[StoredBase, PostgresServer], place: Path
) -> None:
    base, server = stored
    restore(base, place / "data")
    with (place / "data" / "base" / "1" / "1259").open("r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
    proof = prove_files(binaries_of(server, base.base.lineage.major), place / "data")
    assert not proof.ok
    assert "base/1/1259" in proof.actual


@pytest.mark.parametrize("name", ["plain", "with space", "back\\slash", "new\nline"])
def test_the_map_of_tablespaces_comes_back_as_it_was(name: str) -> None:
    places = {"16385": Path("/srv") / name, "16386": Path("/srv/other")}
    assert parse_tablespace_map(format_tablespace_map(places)) == {key: str(to) for key, to in places.items()}
