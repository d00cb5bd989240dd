"""Proofs on a restored PostgreSQL: files before the recovery, data on the running server, pages after its stop."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from drtool.errors import DrtoolError
from drtool.sources.base import Proof
from drtool.sources.postgres.authid import BOOTSTRAP_ROLE
from drtool.sources.postgres.binaries import Binaries
from drtool.sources.postgres.instance import Instance, read_control
from drtool.sources.postgres.layout import TABLESPACE_MAP

SHOWN = 2_000  # characters of a tool's complaint that a proof repeats

_DATABASES: LiteralString = """
    select datname, pg_database_collation_actual_version(oid) from pg_database where datallowconn order by 1"""
_UNLOGGED: LiteralString = """
    select oid::regclass::text from pg_class where relpersistence = 'u' and relkind in ('r', 'p', 'm', 'S')"""
# Indexes whose order was made by another version of their collation; that of the database is collation 100.
_STALE_INDEXES: LiteralString = """
    select distinct i.indexrelid::regclass::text
    from pg_index i cross join unnest(i.indcollation) as used join pg_collation c on c.oid = used
    where c.collversion <> pg_collation_actual_version(c.oid)
       or c.oid = 100 and (select d.datcollversion <> pg_database_collation_actual_version(d.oid)
                           from pg_database d where d.datname = current_database())
    order by 1"""


@dataclass(frozen=True, slots=True)
class SqlProof:
    """A query of the policy whose one value must be at_least or equal something; runs read-only."""

    name: str
    sql: str
    at_least: int | float | None = None
    equals: object = None
    dbname: str = "postgres"


def prove_files(binaries: Binaries, directory: Path) -> Proof:
    """Hold a restored base, before its recovery, against its own manifest: every file, its size and checksum.

    The map of the tablespaces is left out, for a restore rewrites it.
    """
    done = binaries.run("pg_verifybackup", "-n", "-i", TABLESPACE_MAP, directory)
    return _tool_proof(
        "pg_verifybackup", "every file is as in the backup manifest", done.returncode, done.stderr
    )


def prove_pages(binaries: Binaries, directory: Path) -> Iterator[Proof]:
    """Check every page's checksum after a clean stop; nothing where the instance has no checksums."""
    if read_control(binaries, directory)["Data page checksum version"] != "0":
        done = binaries.run("pg_checksums", "--check", "-D", directory)
        yield _tool_proof("pg_checksums", "every page has its checksum", done.returncode, done.stderr)


def find_superuser(instance: Instance, known: Iterable[str]) -> str:
    """Return the name of the superuser that initdb made; known are roles to ask as, some of which may exist."""
    problem = DrtoolError("no role to connect as is known")
    for user in known:
        try:
            with instance.connect(user=user) as connection:
                rows = connection.execute(
                    "select rolname from pg_roles where oid = %s", (BOOTSTRAP_ROLE,)
                ).fetchall()
                return str(rows[0][0])
        except DrtoolError as refused:
            problem = refused
        except psycopg.Error as refused:
            problem = DrtoolError(f"{user} may not read the roles of the restored server: {_said(refused)}")
    raise problem


def prove_server(
    instance: Instance, binaries: Binaries, *, user: str, databases: Iterable[Mapping[str, Any]] = ()
) -> Iterator[Proof]:
    """Prove the data of every database: indexes against tables, collations, tables that come back empty.

    user is the superuser; databases are the captured ones (facts["databases"]). Without the amcheck extension,
    the proof of that name is missing. A proof that cannot be run is a failed one.
    """
    captured = {database["name"]: database for database in databases}
    try:
        with instance.connect(user=user) as connection:
            found = connection.execute(_DATABASES).fetchall()
    except (DrtoolError, psycopg.Error) as fault:
        yield _failed_proof("databases", ", ".join(captured) or "can be read", fault)
        return
    missing = sorted(captured.keys() - {name for name, _ in found} - {"template0"})
    if captured:
        lacks = f"missing: {', '.join(missing)}" if missing else "all there"
        yield Proof("databases", not missing, ", ".join(captured), lacks)
    for name, version in found:
        try:
            with instance.connect(user=user, dbname=name) as connection:
                proofs = list(_prove_database(connection, name, version, captured.get(name, {})))
        except (DrtoolError, psycopg.Error) as fault:
            proofs = [_failed_proof(f"catalogue of {name}", "can be read", fault)]
        yield from proofs
    yield from _amcheck(instance, binaries, user, [name for name, _ in found])


def _prove_database(
    connection: psycopg.Connection[Any], name: str, version: str | None, captured: Mapping[str, Any]
) -> Iterator[Proof]:
    """Prove what differs by machine: the order of text; and what is not in the WAL: unlogged tables."""
    before = captured.get("actual_collation_version")
    stale = [row[0] for row in connection.execute(_STALE_INDEXES).fetchall()]
    moved = before is not None and before != version
    text = f"version {version}" + (f"; to reindex: {', '.join(stale)}" if stale else "")
    if version is not None or stale or moved:
        yield Proof(f"collations of {name}", not stale and not moved, f"version {before or version}", text)
    unlogged = [row[0] for row in connection.execute(_UNLOGGED).fetchall()]
    if unlogged:
        expected = captured.get("unlogged_tables", len(unlogged))
        shown = f"{len(unlogged)}, all empty: {', '.join(sorted(unlogged))}"[:SHOWN]
        yield Proof(f"unlogged tables of {name}", expected == len(unlogged), str(expected), shown)


def prove_sql(instance: Instance, proofs: Iterable[SqlProof], *, user: str) -> Iterator[Proof]:
    """Run the policy's own queries, read-only, each in a connection of its own."""
    for proof in proofs:
        expected = f"at least {proof.at_least}" if proof.at_least is not None else f"{proof.equals}"
        try:
            with instance.connect(user=user, dbname=proof.dbname) as connection:
                connection.read_only = True
                with connection.transaction():
                    row = connection.execute(proof.sql.encode()).fetchone()
        except (DrtoolError, psycopg.Error) as fault:
            yield _failed_proof(proof.name, expected, fault)
            continue
        value = row[0] if row else None
        yield Proof(proof.name, _is_met(proof, value), expected, str(value))


def _is_met(proof: SqlProof, value: object) -> bool:
    if proof.at_least is None:
        return value == proof.equals
    return isinstance(value, int | float | Decimal) and value >= proof.at_least


def _amcheck(instance: Instance, binaries: Binaries, user: str, names: Iterable[str]) -> Iterator[Proof]:
    """Run pg_amcheck on each database; the extension that it needs is made for it, and dropped again."""
    if binaries.find("pg_amcheck") is None or instance.sockets is None:
        return
    expected = "every index agrees with its table"
    for name in names:
        try:
            with instance.connect(user=user, dbname=name) as connection:
                state = connection.execute(
                    "select installed_version from pg_available_extensions where name = 'amcheck'"
                ).fetchone()
                if state is None:
                    return
                if state[0] is None:
                    connection.execute("create extension amcheck schema pg_catalog")
                where = ["-h", str(instance.sockets), "-U", user, "-d", name]
                done = binaries.run("pg_amcheck", "--heapallindexed", *where)
                if state[0] is None:
                    connection.execute("drop extension amcheck")
        except (DrtoolError, psycopg.Error) as fault:
            yield _failed_proof(f"pg_amcheck of {name}", expected, fault)
            continue
        yield _tool_proof(f"pg_amcheck of {name}", expected, done.returncode, done.stdout + done.stderr)


def _failed_proof(name: str, expected: str, fault: Exception) -> Proof:
    return Proof(name, ok=False, expected=expected, actual=_said(fault))


def _said(fault: Exception) -> str:
    return str(fault).strip()[:SHOWN]


def _tool_proof(name: str, expected: str, status: int, complaint: str) -> Proof:
    return Proof(name, status == 0, expected, "as expected" if status == 0 else complaint.strip()[:SHOWN])
