"""Neither how a server, a database and a role are set, nor who starts drtool where, changes what drtool reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.errors import SourceUnavailable
from drtool.sources.postgres.base_backup import BackupOptions, BaseBackup
from drtool.sources.postgres.checkup import examine
from drtool.sources.postgres.connection import PostgresSettings, Replication, connect
from drtool.sources.postgres.facts import read_facts
from drtool.sources.postgres.listing import listed
from drtool.sources.postgres.slot import drop_slot, heartbeat, make_slot, next_heartbeat

PLAIN = "encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'"


def everything_works(settings: PostgresSettings) -> None:
    """Do once what doctor, a backup and a catch-up ask of a server."""
    found = examine(settings, "drtool_opening", "protect-app", "postgres")
    assert [symptom.message for symptom in found if symptom.level == "error"] == []
    try:
        assert make_slot(settings, "drtool_opening").restart_lsn is not None
        beat = heartbeat(settings, {"volume": "postgres"})
        next_heartbeat(settings, {"volume": "postgres"}, beat)
        with BaseBackup(settings, BackupOptions("test")) as backup:
            for artifact in backup:
                for _ in artifact.stream:
                    pass
            facts = backup.result().facts
    finally:
        drop_slot(settings, "drtool_opening")
    assert facts["not_read"] == {}
    assert "T" in facts["control"]["checkpoint_time"]
    assert facts["settings"]["wal_level"] == "replica"


@pytest.fixture
def plain(server: PostgresServer) -> Iterator[PostgresSettings]:
    """A database as initdb makes them under LANG=C."""
    server.sql(f"create database plain {PLAIN}")
    yield replace(server.settings, dbname="plain")
    server.sql("drop database plain with (force)")


def test_a_database_in_sql_ascii_is_read_as_text(plain: PostgresSettings) -> None:
    everything_works(plain)


def test_a_name_that_is_no_utf_8_is_shown_and_named_as_not_read(
    plain: PostgresSettings, server: PostgresServer
) -> None:
    with raw(plain) as connection:
        connection.execute(b'create database "caf\xe9" ' + PLAIN.encode())
    try:
        for settings in (plain, server.settings):
            facts = read_facts(settings)
            assert "caf\\xe9" in {database["name"] for database in facts["databases"]}
            assert list(facts["not_read"]) == ["database caf\\xe9"]
    finally:
        with raw(plain) as connection:
            connection.execute(b'drop database "caf\xe9"')


def test_what_a_query_lists_is_the_bytes_that_the_server_has(plain: PostgresSettings) -> None:
    with raw(plain) as connection:
        connection.execute(b"create table files (path text)")
        connection.execute(b"insert into files values ('caf\xe9'), ('\xc3\xa9')")
    assert list(listed(plain, "select path from files order by 1", 60)) == [b"caf\xe9", b"\xc3\xa9"]


@contextmanager
def raw(settings: PostgresSettings) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Connect as a client does that sends any bytes."""
    with connect(settings) as connection:
        connection.execute("set client_encoding = 'SQL_ASCII'")
        yield connection


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY"])
def test_settings_of_the_role_change_nothing(server: PostgresServer, style: str) -> None:
    server.sql("create role odd superuser login password 'secret'")
    for name, value in (
        ("DateStyle", style),
        ("IntervalStyle", "sql_standard"),
        ("default_transaction_read_only", "on"),
        ("lock_timeout", "1ms"),
    ):
        server.sql(f"alter role odd set {name} = '{value}'")
    try:
        everything_works(server.settings_for("odd", "secret"))
    finally:
        server.sql("drop role odd")


def test_a_timeout_that_ends_nearly_every_query_is_taken_off_first(server: PostgresServer) -> None:
    server.sql("create role hurried superuser login password 'secret'")
    server.sql("alter role hurried set statement_timeout = '1ms'")
    try:
        for _ in range(20):
            with connect(server.settings_for("hurried", "secret")) as connection:
                connection.execute("select pg_sleep(0.01)")
    finally:
        server.sql("drop role hurried")


def test_no_timeout_of_the_role_ends_a_connection(server: PostgresServer) -> None:
    server.sql("create role hasty superuser login password 'secret'")
    names = ["statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout"]
    names += ["transaction_timeout"] if "transaction_timeout" in known_settings(server) else []
    for name in names:
        server.sql(f"alter role hasty set {name} = '1500ms'")
    hasty = server.settings_for("hasty", "secret")
    try:
        with connect(hasty) as connection, Replication(hasty) as replication:
            connection.execute("select pg_sleep(2)")
            with connection.transaction():
                connection.execute("select 1")
                server.sql("select pg_sleep(2)")
                connection.execute("select 1")
            replication.identify()
            everything_works(hasty)
    finally:
        server.sql("drop role hasty")


def known_settings(server: PostgresServer) -> set[str]:
    return {name for (name,) in server.sql("select name from pg_settings")}


def test_the_environment_does_not_choose_the_server(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGHOST": "nowhere.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGDATABASE": "elsewhere",
        "PGUSER": "nobody",
        "PGPASSWORD": "wrong",
        "PGSERVICE": "elsewhere",
        "PGSERVICEFILE": "/nonexistent",
        "PGTARGETSESSIONATTRS": "standby",
        "PGLOADBALANCEHOSTS": "what",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "none",
        "PGGSSENCMODE": "require",
        "PGSSLMODE": "verify-full",
        "PGSSLCERT": "/nonexistent",
        "PGSSLKEY": "/nonexistent",
        "PGSSLROOTCERT": "/nonexistent",
        "PGSSLNEGOTIATION": "direct",
        "PGSSLCERTMODE": "require",
        "PGMINPROTOCOLVERSION": "9",
        "PGMAXPROTOCOLVERSION": "9",
        "PGREQUIREPEER": "nobody",
        "PGOPTIONS": "-c statement_timeout=1 -c no_such_setting=1",
        "PGCLIENTENCODING": "SQL_ASCII",
        "PGDATESTYLE": "German",
        "PGTZ": "Nowhere/Land",
        "PGGEQO": "perhaps",
        "PGAPPNAME": "standby1",
        "PGCONNECT_TIMEOUT": "what",
    }.items():
        monkeypatch.setenv(name, value)
    everything_works(server.settings)


def test_a_password_that_the_policy_does_not_name_is_not_taken_from_the_environment(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", server.password)
    with pytest.raises(SourceUnavailable, match="refuses the password") as caught:
        connect(replace(server.settings, password=None))
    assert "PGPASSWORD" in caught.value.hint
