"""Proofs pass on a good restore, and each fails on the fault that it is there for."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.postgres import PostgresServer, private_directory
from drtool.errors import DrtoolError
from drtool.sources.base import Proof
from drtool.sources.postgres.authid import superuser_names
from drtool.sources.postgres.facts import read_facts
from drtool.sources.postgres.instance import Instance
from drtool.sources.postgres.pitr import choose_recovery
from drtool.sources.postgres.prove import SqlProof, find_superuser, prove_pages, prove_server, prove_sql
from drtool.sources.postgres.recovery import Recovery
from tests.sources.postgres.stored import SETTINGS, Wal, binaries_of, expected_end, restore, take_base

REFUSAL = """
    create function refuse() returns event_trigger language plpgsql as
    $$ begin if tg_tag = 'CREATE EXTENSION' then raise 'no extensions here'; end if; end $$"""


class Proven:
    """A restored server that runs, and what was captured of its databases."""

    def __init__(
        self, recovery: Recovery, server: PostgresServer, major: int, databases: list[dict[str, Any]]
    ):
        self.recovery = recovery
        self.binaries = binaries_of(server, major)
        self.databases = databases

    def proofs(
        self, databases: list[dict[str, Any]] | None = None, *, is_changed: bool = False
    ) -> dict[str, Proof]:
        found = prove_server(
            self.recovery.instance,
            self.binaries,
            user="postgres",
            databases=self.databases if databases is None else databases,
            is_changed=is_changed,
        )
        return {proof.name: proof for proof in found}


def fill(server: PostgresServer, space: str) -> None:
    server.sql(f"create tablespace elsewhere location '{space}'")
    server.sql("create database forum")
    server.sql("create database broken")
    server.sql("create table posts (n int primary key, body text) tablespace elsewhere", dbname="forum")
    server.sql("insert into posts select n, md5(n::text) from generate_series(1, 500) n", dbname="forum")
    server.sql("create unlogged table cache (n int)", dbname="forum")
    server.sql("insert into cache values (1)", dbname="forum")
    server.sql("create table t (n int)", dbname="broken")
    server.sql("create index i on t (n)", dbname="broken")
    server.sql("update pg_index set indisready = false where indexrelid = 'i'::regclass", dbname="broken")
    server.sql("insert into t values (1)", dbname="broken")
    server.sql("update pg_index set indisready = true where indexrelid = 'i'::regclass", dbname="broken")


@pytest.fixture(scope="module", params=[15, 17, 18])
def proven(request: pytest.FixtureRequest) -> Iterator[Proven]:
    directory, space, target = (
        private_directory("p"),
        private_directory("space"),
        private_directory("r") / "data",
    )
    server = PostgresServer.create(request.param, directory, settings=SETTINGS, fast=True)
    try:
        with server:
            fill(server, str(space))
            stored, wal = take_base(server, request.param), Wal()
            server.sql(
                "insert into posts select n, md5(n::text) from generate_series(501, 600) n", dbname="forum"
            )
            wal.collect(server)
            databases = read_facts(server.settings)["databases"]
            choice = choose_recovery([stored.base], {stored.base.lineage: wal.stored()})
        restore(stored, target)
        binaries = binaries_of(server, request.param)
        with Recovery(choice, target, binaries, work=target.with_name("work"), settings={}) as recovery:
            wal.stage(choice, recovery.work)
            recovery.run(expected_end(wal.survey(choice)))
            yield Proven(recovery, server, request.param, databases)
    finally:
        shutil.rmtree(directory)
        shutil.rmtree(space)
        shutil.rmtree(target.parent)


def test_a_good_database_passes_every_proof_and_keeps_no_extension(proven: Proven) -> None:
    proofs = proven.proofs()
    for name in ("databases", "pg_amcheck of forum", "pg_amcheck of postgres", "unlogged tables of forum"):
        assert proofs[name].ok, proofs[name]
    assert proofs["unlogged tables of forum"].actual == "1, all empty: cache"
    with proven.recovery.instance.connect(user="postgres", dbname="forum") as connection:
        assert connection.execute("select extname from pg_extension").fetchall() == [("plpgsql",)]


def test_an_index_that_lacks_a_row_fails_its_proof(proven: Proven) -> None:
    proof = proven.proofs()["pg_amcheck of broken"]
    assert not proof.ok
    assert "lacks matching index tuple" in proof.actual


def test_a_database_that_is_not_there_fails_its_proof(proven: Proven) -> None:
    proof = proven.proofs([*proven.databases, {"name": "lost"}])["databases"]
    assert not proof.ok
    assert proof.actual == "missing: lost"


def test_what_came_and_went_in_replayed_transactions_is_said_and_no_fault(proven: Proven) -> None:
    databases = [*proven.databases, {"name": "lost", "oid": 1, "unlogged_tables": 1}]
    for count in (0, 3):
        captured = [each | {"unlogged_tables": count} for each in databases]
        proofs = proven.proofs(captured, is_changed=True)
        assert {name for name, proof in proofs.items() if not proof.ok} == {"pg_amcheck of broken"}
        assert proofs["databases"].actual == "dropped or renamed since the base: lost"
        cache = proofs["unlogged tables of forum"]
        assert (cache.expected, cache.actual) == (f"{count} in the base", "1, all empty: cache")


def test_another_number_of_unlogged_tables_than_in_the_base_fails_its_proof(proven: Proven) -> None:
    """Fewer, too, and none at all."""
    captured = [each | {"unlogged_tables": 2} for each in proven.databases if each["name"] != "template0"]
    proofs = proven.proofs(captured)
    for name, actual in (("forum", "1, all empty: cache"), ("postgres", "0")):
        proof = proofs[f"unlogged tables of {name}"]
        assert (proof.ok, proof.expected, proof.actual) == (False, "2", actual)


@pytest.mark.parametrize(("is_changed", "expected"), [(True, "unknown in the base"), (False, "unknown")])
def test_how_many_unlogged_tables_the_base_had_is_not_guessed(
    proven: Proven,
    *,
    is_changed: bool,
    expected: str,
) -> None:
    """It is unknown of a database that let nobody in, and of one that was made behind the base."""
    unknown = ("unlogged_tables", "unlogged_names")
    captured = [
        {key: value for key, value in each.items() if key not in unknown} for each in proven.databases
    ]
    proof = proven.proofs(captured, is_changed=is_changed)["unlogged tables of forum"]
    assert (proof.ok, proof.expected, proof.actual) == (True, expected, "1, all empty: cache")


def test_a_database_made_anew_under_an_old_name_is_not_held_against_the_old_one(proven: Proven) -> None:
    changed = [each | {"oid": 1, "actual_collation_version": "2.31"} for each in proven.databases]
    assert "collations of forum" not in proven.proofs(changed, is_changed=True)


def test_a_collation_of_another_version_fails_its_proof_and_names_the_indexes(proven: Proven) -> None:
    """As after a move between machines: the catalogue says which version of the collation sorted the index."""
    with proven.recovery.instance.connect(user="postgres", dbname="forum") as connection:
        versioned = (
            "select oid, collname, collversion from pg_collation where collname in ('und-x-icu', 'pg_c_utf8')"
        )
        ((oid, name, version),) = connection.execute(versioned).fetchall()
        connection.execute(f'create index by_body on posts (body collate "{name}")')
        assert "collations of forum" not in proven.proofs()
        connection.execute("update pg_collation set collversion = '0' where oid = %s", (oid,))
        proof = proven.proofs()["collations of forum"]
        connection.execute("update pg_collation set collversion = %s where oid = %s", (version, oid))
        connection.execute("drop index by_body")
    assert not proof.ok
    assert "to reindex: by_body" in proof.actual


def test_a_database_whose_collation_moved_fails_its_proof(proven: Proven) -> None:
    changed = [{**each, "actual_collation_version": "2.31"} for each in proven.databases]
    proof = proven.proofs(changed)["collations of forum"]
    assert not proof.ok
    assert (proof.expected, proof.actual) == ("version 2.31", "version None")


@pytest.mark.parametrize(
    ("proof", "ok", "actual"),
    [
        (SqlProof("posts", "select count(*) from posts", at_least=600, dbname="forum"), True, "600"),
        (SqlProof("posts", "select count(*) from posts", at_least=601, dbname="forum"), False, "600"),
        (SqlProof("cache", "select count(*) from cache", equals=0, dbname="forum"), True, "0"),
        (SqlProof("text", "select 'many'", at_least=1), False, "many"),
        (SqlProof("decimal", "select 1.5", at_least=1), True, "1.5"),
        (SqlProof("nothing", "select 1 where false", at_least=0), False, "None"),
        (SqlProof("typo", "select count(*) from postss"), False, "does not exist"),
        (SqlProof("no database", "select 1", equals=1, dbname="gone"), False, "does not exist"),
        (SqlProof("writes", "delete from posts returning 1", dbname="forum"), False, "read-only"),
    ],
    ids=["enough", "too few", "equal", "text", "decimal", "no row", "typo", "no database", "writes"],
)
def test_the_queries_of_a_policy_are_held_against_their_values(
    proven: Proven, proof: SqlProof, *, ok: bool, actual: str
) -> None:
    (found,) = prove_sql(proven.recovery.instance, [proof], user="postgres")
    assert found.ok is ok
    assert actual in found.actual


def test_the_superuser_is_found_through_any_role(proven: Proven) -> None:
    instance = proven.recovery.instance
    with instance.connect(user="postgres") as connection:
        connection.execute("drop role if exists app")
        connection.execute("create role app login")
    assert find_superuser(instance, ["nobody-here", "app"]) == "postgres"
    with pytest.raises(DrtoolError, match="nobody-here"):
        find_superuser(instance, ["nobody-here"])


def test_the_superuser_is_found_in_the_data_whatever_it_is_called(proven: Proven) -> None:
    """Renamed, and its catalogue moved into another file: as who restores with a kit alone may meet it."""
    instance = proven.recovery.instance
    assert find_superuser(instance, superuser_names(instance.directory)) == "postgres"
    with instance.connect(user="postgres") as connection:
        connection.execute("create role other superuser login")
    with instance.connect(user="other") as connection:
        connection.execute("alter role postgres rename to chief")
        try:
            connection.execute("checkpoint")
            assert find_superuser(instance, superuser_names(instance.directory)) == "chief"
            connection.execute("vacuum full pg_authid")
            connection.execute("checkpoint")
            assert superuser_names(instance.directory) == ["chief"]
        finally:
            connection.execute("alter role chief rename to postgres")
    with instance.connect(user="postgres") as connection:
        connection.execute("drop role other")


@pytest.mark.parametrize("content", [b"", bytes(8192), b"x" * 8192])
def test_files_of_another_layout_name_no_superuser(tmp_path: Path, content: bytes) -> None:
    assert superuser_names(tmp_path) == []
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "pg_filenode.map").write_bytes(bytes(512))
    (tmp_path / "global" / "1260").write_bytes(content)
    assert superuser_names(tmp_path) == []


def test_a_role_that_may_not_read_the_roles_is_no_traceback(proven: Proven) -> None:
    instance = proven.recovery.instance
    with instance.connect(user="postgres") as connection:
        connection.execute("drop role if exists blind")
        connection.execute("create role blind login")
        connection.execute("revoke select on pg_roles from public")
        try:
            assert find_superuser(instance, ["blind", "postgres"]) == "postgres"
            with pytest.raises(DrtoolError, match="blind may not read the roles"):
                find_superuser(instance, ["blind"])
        finally:
            connection.execute("grant select on pg_roles to public")


def test_a_proof_that_cannot_be_run_is_a_failed_one(proven: Proven) -> None:
    """Of one database a file is gone, another one forbids the extension."""
    instance = proven.recovery.instance
    with instance.connect(user="postgres") as connection:
        connection.execute("create database strict")
        connection.execute("create database shut")
        ((oid,),) = connection.execute("select oid from pg_database where datname = 'shut'").fetchall()
    with instance.connect(user="postgres", dbname="strict") as connection:
        connection.execute(REFUSAL)
        connection.execute("create event trigger refusal on ddl_command_start execute function refuse()")
        connection.execute("alter event trigger refusal enable always")
    (instance.directory / "base" / str(oid) / "PG_VERSION").unlink()
    proofs = proven.proofs()
    with instance.connect(user="postgres") as connection:
        for name in ("strict", "shut"):
            connection.execute(f"drop database {name}".encode())
    assert {name for name, proof in proofs.items() if not proof.ok} == {
        "catalogue of shut",
        "pg_amcheck of broken",
        "pg_amcheck of shut",
        "pg_amcheck of strict",
    }
    assert "no extensions here" in proofs["pg_amcheck of strict"].actual


def test_proofs_of_a_server_that_is_gone_have_failed(proven: Proven) -> None:
    recovery = proven.recovery
    gone = Instance(proven.binaries, recovery.directory, recovery.work)
    gone.sockets = recovery.work / "gone"
    (proof,) = prove_server(gone, proven.binaries, user="postgres")
    assert (proof.name, proof.ok) == ("databases", False)
    assert "cannot connect" in proof.actual


def test_a_damaged_page_fails_its_proof(proven: Proven) -> None:
    """The last test of its server: it stops it."""
    recovery = proven.recovery
    with recovery.instance.connect(user="postgres", dbname="forum") as connection:
        ((path,),) = connection.execute("select pg_relation_filepath('posts')").fetchall()
    recovery.finish()
    (proof,) = prove_pages(proven.binaries, recovery.directory)
    assert proof.ok, proof.actual
    with (recovery.directory / path).open("r+b") as file:
        file.seek(1000)
        file.write(b"rot")
    (proof,) = prove_pages(proven.binaries, recovery.directory)
    assert not proof.ok
    assert "checksum verification failed" in proof.actual
