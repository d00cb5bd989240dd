"""What a restored PostgreSQL has, read without any site: from its tables and the folder of media."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from shutil import rmtree

import pytest

from drtool.demo.servers.postgres import PostgresServer, private_directory
from drtool.errors import SourceUnavailable
from tests.cluster.load.compare import Found
from tests.cluster.load.inventory import read_postgres

ID = "00000000-0000-4000-8000-00000000000{}"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    directory = private_directory("inventory")
    try:
        with PostgresServer.create(18, directory, fast=True) as server:
            server.sql("create table posts (id uuid, text text)")
            server.sql("create table uploads (id uuid, sha256 text, path text)")
            server.sql("create table tasks (id uuid, runs int)")
            yield server
    finally:
        rmtree(directory)


@pytest.fixture
def conninfo(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PGPASSWORD", server.password)
    return f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres"


def test_posts_and_tasks_are_read_row_by_row_also_those_that_are_there_twice(
    server: PostgresServer, conninfo: str
) -> None:
    server.sql(f"insert into posts values ('{ID.format(1)}', 'Grüße'), ('{ID.format(1)}', 'Grüße')")
    server.sql(f"insert into tasks values ('{ID.format(2)}', 3)")

    assert read_postgres(conninfo, "posts") == [Found(ID.format(1), sha256("Grüße".encode()).hexdigest())] * 2
    assert read_postgres(conninfo, "tasks") == [Found(ID.format(2), "", 3)]


def test_an_upload_is_what_its_row_and_its_file_agree_on(
    server: PostgresServer, conninfo: str, tmp_path: Path
) -> None:
    digest = sha256(b"music").hexdigest()
    for number, (name, content) in enumerate((("kept", b"music"), ("altered", b"noise"), ("gone", None))):
        server.sql(f"insert into uploads values ('{ID.format(number)}', '{digest}', '{name}')")
        if content is not None:
            (tmp_path / name).write_bytes(content)

    assert read_postgres(conninfo, "uploads") == [Found(ID.format(number), digest) for number in range(3)]
    kept, altered, gone = read_postgres(conninfo, "uploads", tmp_path)
    assert kept.sha256 == digest
    assert altered.sha256 not in (digest, sha256(b"noise").hexdigest(), None)
    assert gone.sha256 is None


def test_a_database_that_is_away_is_a_source_that_is_away(conninfo: str) -> None:
    with pytest.raises(SourceUnavailable, match="cannot read posts"):
        read_postgres(conninfo.replace("dbname=postgres", "dbname=none"), "posts")
