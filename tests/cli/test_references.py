"""What the pod of a restore runs to look for files: on a real PostgreSQL, and on names that mean harm."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from drtool.cli.main import drtool
from drtool.demo.servers.postgres import PostgresServer, private_directory
from drtool.operations import references

SQL = "select file from attachment order by id"
NAMES = ["a.jpg", "/b.jpg", "../a.jpg", "line\nbreak", "'; drop table attachment; --", "none.jpg", "", None]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer.create(18, private_directory("test"), fast=True) as server:
        server.sql("create table attachment (id int generated always as identity, file text)")
        for name in NAMES:
            server.sql("insert into attachment (file) values (%s)", name)
        yield server


@pytest.fixture
def media(tmp_path: Path) -> Path:
    root = tmp_path / "media"
    root.mkdir()
    for name in ("a.jpg", "b.jpg", "line\nbreak"):
        (root / name).touch()
    (tmp_path / "password").write_text("")
    return root


def look(server: PostgresServer, root: Path, sql: str = SQL, code: int = 0) -> str:
    settings = server.settings
    password = root.parent / "password"
    password.write_text(settings.password() if settings.password else "")
    volume = {"name": "db", "source": "postgres", "host": settings.host, "port": settings.port}
    volume |= {"user": settings.user, "password": {"file": str(password)}, "database": "postgres"}
    asked = {"name": "posts", "database": "db", "files": "media", "sql": sql, "time_limit": "1m"}
    words = ["mover", "references", json.dumps(volume), json.dumps(asked), "--root", str(root)]
    found = CliRunner().invoke(drtool, words)
    assert found.exit_code == code, found.output
    return found.stdout if code == 0 else found.output


def test_what_is_missing_is_counted_and_named_whatever_the_names_are(
    server: PostgresServer, media: Path
) -> None:
    told = json.loads(look(server, media).split("\n")[-2])
    missing = ["../a.jpg", "'; drop table attachment; --", "none.jpg"]
    assert told["references"] == {"listed": 6, "missing": 3, "first": missing}
    assert server.sql("select count(*) from attachment") == [(len(NAMES),)]


def test_of_many_that_are_missing_the_first_are_named_and_a_long_name_is_cut(
    server: PostgresServer, media: Path
) -> None:
    sql = "select repeat('ä', 300) || n from generate_series(1, 3000) as n"
    line = look(server, media, sql).split("\n")[-2]
    told = json.loads(line)["references"]
    assert (told["listed"], told["missing"], len(told["first"])) == (3000, 3000, references.NAMES)
    assert told["first"][0] == "ä" * 200 + "…"
    assert len(line) < 16 << 10  # what the log of a pod keeps as one line


def test_a_query_that_fails_says_nothing_of_what_is_missing(server: PostgresServer, media: Path) -> None:
    said = look(server, media, "select file from atachment", code=6)
    assert 'relation "atachment" does not exist' in said
    assert "missing" not in said
    assert "is no folder" in look(server, media / "none", code=6)


def test_what_is_no_volume_of_postgresql_is_refused(media: Path) -> None:
    found = CliRunner().invoke(drtool, ["mover", "references", "{}", "{}", "--root", str(media)])
    assert found.exit_code == 2
    assert "no volume of PostgreSQL" in found.output
