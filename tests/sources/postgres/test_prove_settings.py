"""What is ordinary in a restored server fails no proof: names, encodings, settings; nor does our environment."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from drtool.demo.servers.postgres import find_bin_dir, private_directory, run
from drtool.sources.base import Proof
from drtool.sources.postgres.authid import superuser_names
from drtool.sources.postgres.binaries import Binaries, choose_account
from drtool.sources.postgres.instance import Instance
from drtool.sources.postgres.pinned import SUPERUSER
from drtool.sources.postgres.prove import SqlProof, find_superuser, prove_server, prove_sql
from tests.sources.postgres.stored import owner

NAMES = (
    "MyApp", "my.app", 'a"b', "a\\b", "a|b", "$(id)", "a*b", "a?b", "a'b", "a b", "dbname=x", "postgresql://x", "-h",
)  # fmt: skip
VARIABLES = {
    "PGCHANNELBINDING": "require",
    "PGCLIENTENCODING": "nothing",
    "PGCONNECT_TIMEOUT": "never",
    "PGDATABASE": "nothing",
    "PGDATESTYLE": "nothing",
    "PGGEQO": "nothing",
    "PGGSSENCMODE": "require",
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGLOADBALANCEHOSTS": "nothing",
    "PGMINPROTOCOLVERSION": "nothing",
    "PGOPTIONS": "-c nothing=1",
    "PGPASSFILE": "/nothing",
    "PGPORT": "1",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "nobody",
    "PGSERVICE": "nothing",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGTARGETSESSIONATTRS": "standby",
    "PGTZ": "nothing",
    "PGUSER": "nobody",
}
SETTINGS = (
    "client_encoding = 'SQL_ASCII'",
    "datestyle = 'German'",
    "default_transaction_read_only = on",
    "local_preload_libraries = 'nothing'",
    "quote_all_identifiers = on",
    "role = 'drtool'",
    "search_path = decoy, pg_catalog",
    "session_authorization = 'drtool'",
    "session_preload_libraries = 'nothing'",
    "statement_timeout = '1ms'",
    "temp_file_limit = 0",
    "zero_damaged_pages = on",
)
# What a damaged page, a sort and a date come to.
POLICY = SqlProof(
    "policy",
    "select current_setting('zero_damaged_pages') || current_setting('temp_file_limit') || date '2026-01-02'",
    equals="off-12026-01-02",
)


class Running:
    """A server as a recovery leaves it running."""

    def __init__(self, instance: Instance, binaries: Binaries) -> None:
        self.instance = instance
        self.binaries = binaries

    def sql(self, *statements: str | sql.Composed, dbname: str = "postgres") -> None:
        with self.instance.connect(user="postgres", dbname=dbname, more=SUPERUSER) as connection:
            for statement in statements:
                connection.execute(statement.encode() if isinstance(statement, str) else statement)

    def proofs(self) -> dict[str, Proof]:
        user = find_superuser(self.instance, superuser_names(self.instance.directory))
        found = [
            *prove_server(self.instance, self.binaries, user=user),
            *prove_sql(self.instance, [POLICY], user=user),
        ]
        return {proof.name: proof for proof in found}

    def faults(self) -> dict[str, str]:
        return {name: proof.actual for name, proof in self.proofs().items() if not proof.ok}


@contextmanager
def running(major: int, encoding: str) -> Iterator[Running]:
    place, bin_dir = private_directory("own"), find_bin_dir(major)
    binaries = Binaries(bin_dir, major, choose_account(owner()))
    options = ["--username=postgres", "--auth=trust", "--no-locale", f"--encoding={encoding}", "--no-sync"]
    try:
        run([bin_dir / "initdb", "-D", place / "data", *options], cwd=place)
        (place / "work").mkdir()
        instance = Instance(binaries, place / "data", place / "work")
        instance.start({"fsync": "off"})
        try:
            list(instance.wait_ready(deadline_s=60))
            yield Running(instance, binaries)
        finally:
            instance.stop()
    finally:
        shutil.rmtree(place)


@pytest.fixture(scope="module", params=[15, 17, 18], ids=lambda major: f"postgresql-{major}")
def plain(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(request.param, "UTF8") as server:
        server.sql("create role drtool", "create schema decoy", "create table decoy.pg_index (n int)")
        server.sql("create unlogged table cache (n int)")
        yield server


def test_a_database_may_have_any_name(plain: Running) -> None:
    for name in NAMES:
        plain.sql(sql.SQL("create database {}").format(sql.Identifier(name)))
    plain.sql("create table t (n int primary key)", "insert into t values (1)", dbname="a*b")
    plain.sql("create table t (n int)", "create index i on t (n)", dbname="a?b")
    for change in (
        "update pg_index set indisready = false where indexrelid = 'i'::regclass",
        "insert into t values (1)",
        "update pg_index set indisready = true where indexrelid = 'i'::regclass",
    ):
        plain.sql(change, dbname="a?b")
    proofs = plain.proofs()
    for name in NAMES:
        plain.sql(sql.SQL("drop database {}").format(sql.Identifier(name)))
    assert proofs.keys() >= {f"pg_amcheck of {name}" for name in NAMES}
    assert [name for name, proof in proofs.items() if not proof.ok] == ["pg_amcheck of a?b"]
    assert "lacks matching index tuple" in proofs["pg_amcheck of a?b"].actual


def test_a_database_that_takes_no_connections_is_there_and_named(plain: Running) -> None:
    plain.sql("create database noconn allow_connections false", "create database halfway")
    plain.sql("update pg_database set datconnlimit = -2 where datname = 'halfway'")  # its drop broke off
    captured = [{"name": name} for name in ("noconn", "postgres", "template0", "template1")]
    proofs = list(prove_server(plain.instance, plain.binaries, user="postgres", databases=captured))
    plain.sql("drop database noconn", "drop database halfway")
    assert all(proof.ok for proof in proofs), proofs
    (databases,) = (proof for proof in proofs if proof.name == "databases")
    assert databases.actual == "all there; takes no connections, and is not looked into: halfway, noconn"


def test_a_server_without_the_database_postgres_is_proven(plain: Running) -> None:
    plain.sql("create database other")
    with plain.instance.connect(user="postgres", dbname="other") as connection:
        connection.execute("alter database postgres rename to former")
        try:
            proofs = list(prove_server(plain.instance, plain.binaries, user="postgres"))
            assert find_superuser(plain.instance, ["postgres"]) == "postgres"
        finally:
            connection.execute("alter database former rename to postgres")
    plain.sql("drop database other")
    assert all(proof.ok for proof in proofs), proofs
    assert "pg_amcheck of former" in {proof.name for proof in proofs}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_of_libpq_in_our_environment_reaches_no_connection(
    plain: Running, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, VARIABLES[name])
    with plain.instance.connect(user="postgres") as connection:
        found = connection.execute("select current_user, current_database(), current_setting('timezone')")
        assert found.fetchall() == [("postgres", "postgres", "UTC")]
    assert os.environ[name] == VARIABLES[name]  # a secret may be kept there


def test_all_variables_of_libpq_in_our_environment_reach_no_proof(
    plain: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert plain.faults() == {}


@pytest.mark.parametrize(
    "whose", ["role postgres", "database postgres", "role postgres in database postgres"]
)
def test_what_is_set_for_a_role_or_a_database_reaches_no_proof(plain: Running, whose: str) -> None:
    plain.sql(*(f"alter {whose} set {setting}" for setting in SETTINGS))
    try:
        proofs = plain.proofs()
    finally:
        plain.sql(f"alter {whose} reset all")
    assert all(proof.ok for proof in proofs.values()), proofs
    assert proofs["unlogged tables of postgres"].actual == "1, all empty: cache"


def test_a_transaction_timeout_of_a_role_reaches_no_proof(plain: Running) -> None:
    try:
        plain.sql("alter role postgres set transaction_timeout = '1ms'")
    except psycopg.errors.UndefinedObject:
        assert plain.binaries.major < 17
    assert plain.faults() == {}
    plain.sql("alter role postgres reset all")


def test_a_trigger_of_the_application_s_keeps_no_extension_out(plain: Running) -> None:
    plain.sql(
        "create function refuse() returns event_trigger language plpgsql as $$ begin raise 'no'; end $$",
        "create event trigger refusal on ddl_command_start execute function refuse()",
    )
    try:
        assert plain.faults() == {}
    finally:
        plain.sql("drop event trigger refusal", "drop function refuse")


@pytest.mark.parametrize(
    ("major", "encoding"),
    [(15, "SQL_ASCII"), (18, "SQL_ASCII"), (15, "MULE_INTERNAL"), (18, "MULE_INTERNAL"), (17, "EUC_TW")],
)
def test_a_server_of_another_encoding_is_proven(major: int, encoding: str) -> None:
    with running(major, encoding) as server:
        server.sql("create unlogged table cache (n int)", "create role chief superuser login")
        proofs = server.proofs()
        assert all(proof.ok for proof in proofs.values()), proofs
        assert proofs["unlogged tables of postgres"].actual == "1, all empty: cache"
        assert proofs.keys() >= {"pg_amcheck of postgres", "policy"}


def test_a_name_in_bytes_of_no_known_encoding_is_proven() -> None:
    with running(18, "SQL_ASCII") as server:
        server.sql('create unlogged table "café" (n int)')
        assert server.proofs()["unlogged tables of postgres"].actual == '1, all empty: "café"'
        with server.instance.connect(user="postgres") as connection:
            connection.execute(b'alter table "caf\xc3\xa9" rename to "caf\xe9"')
        proofs = server.proofs()
        assert all(proof.ok for proof in proofs.values()), proofs
        assert proofs["unlogged tables of postgres"].actual == '1, all empty: "caf\\xe9"'


@pytest.mark.parametrize(
    ("major", "encoding", "name"),
    [(15, "SQL_ASCII", "caf\\xe9"), (18, "SQL_ASCII", "caf\\xe9"), (17, "LATIN1", "café")],
)
def test_a_database_whose_name_is_no_utf_8_is_proven(major: int, encoding: str, name: str) -> None:
    """In SQL_ASCII it is shown as a backup tells it. Two such names are two databases."""
    with running(major, encoding) as server:
        for made, renamed in (("one", b"caf\xe9"), ("two", b"caf\xe8 'a\\b'")):
            server.sql(f"create database {made}")
            server.sql("create table t (n int primary key)", "insert into t values (1)", dbname=made)
            server.sql("create unlogged table cache (n int)", dbname=made)
            with server.instance.connect(user="postgres") as connection:
                connection.execute("set client_encoding to 'SQL_ASCII'")
                connection.execute(b"alter database " + made.encode() + b' rename to "' + renamed + b'"')
        captured = [{"name": each} for each in (name, "postgres", "template0", "template1")]
        found = list(prove_server(server.instance, server.binaries, user="postgres", databases=captured))
    assert all(proof.ok for proof in found), found
    proofs = {proof.name: proof.actual for proof in found}
    assert proofs[f"unlogged tables of {name}"] == "1, all empty: cache"
    assert len([each for each in proofs if each.startswith("pg_amcheck of caf")]) == 2
