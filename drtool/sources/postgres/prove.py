"""Proofs on a restored PostgreSQL: files before the recovery, data on the running server, pages after its stop."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from drtool.errors import DrtoolError
from drtool.sources.base import Proof
from drtool.sources.postgres.authid import BOOTSTRAP_ROLE
from drtool.sources.postgres.binaries import Binaries
from drtool.sources.postgres.instance import NOTHING, PORT, Instance, read_control
from drtool.sources.postgres.layout import TABLESPACE_MAP
from drtool.sources.postgres.pinned import CATALOGUE, SUPERUSER, settle_encoding
from drtool.sources.postgres.raw_names import with_dbname

SHOWN = 2_000  # characters of a tool's complaint that a proof repeats
NEVER_CONNECTED = "template0"

_DATABASES: LiteralString = """
    select oid::int8, datname, pg_database_collation_actual_version(oid), datallowconn and datconnlimit <> -2
    from pg_database order by datname"""
_CALLED: LiteralString = "select oid::int8, textsend(datname::text) from pg_database"
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
class _Database:
    """A row of _DATABASES. One is not open where it says so, as template0, and where its drop broke off.

    called is the name in the bytes that the server compares; name is that as text, to be shown.
    """

    oid: int
    name: str
    collation_version: str | None
    is_open: bool
    called: bytes


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
    for user, more in product(known, (SUPERUSER, NOTHING)):  # only a superuser is let in with the former
        try:
            with _connect_somewhere(instance, user, more) as connection:
                rows = connection.execute(
                    "select rolname from pg_roles where oid = %s", (BOOTSTRAP_ROLE,)
                ).fetchall()
                return str(rows[0][0])
        except DrtoolError as refused:
            problem = refused
        except psycopg.Error as refused:
            problem = DrtoolError(f"{user} may not read the roles of the restored server: {_said(refused)}")
    raise problem


def _connect_somewhere(
    instance: Instance, user: str, more: Mapping[str, str]
) -> psycopg.Connection[TupleRow]:
    """Connect to the database postgres, or where that was dropped to the one that new ones are made from."""
    try:
        return instance.connect(user=user, more=more)
    except DrtoolError:
        with contextlib.suppress(DrtoolError):
            return instance.connect(user=user, dbname="template1", more=more)
        raise


def prove_server(
    instance: Instance,
    binaries: Binaries,
    *,
    user: str,
    databases: Iterable[Mapping[str, Any]] = (),
    is_changed: bool = False,
) -> Iterator[Proof]:
    """Prove the data of every database: indexes against tables, collations, tables that come back empty.

    user is the superuser; databases are the captured ones (facts["databases"]). Where transactions were replayed over
    their base (is_changed), what is there may have come and gone since: that is said, and is no fault. Without the
    amcheck extension, the proof of that name is missing. A proof that cannot be run is a failed one.
    """
    captured = {database.get("oid", database["name"]): database for database in databases}
    names = [str(database["name"]) for database in captured.values()]
    try:
        with _connect_somewhere(instance, user, CATALOGUE) as connection:
            found = _read_databases(connection)
    except (DrtoolError, psycopg.Error) as fault:
        yield _failed_proof("databases", ", ".join(names) or "can be read", fault)
        return
    yield from _compare_databases(names, found, is_changed=is_changed)
    within = [database for database in found if database.is_open]
    for database in within:
        known = captured.get(database.oid, {})
        try:
            with instance.connect(user=user, dbname=database.called, more=CATALOGUE) as connection:
                proofs = list(_prove_database(connection, database, known, is_changed=is_changed))
        except (DrtoolError, psycopg.Error) as fault:
            proofs = [_failed_proof(f"catalogue of {database.name}", "can be read", fault)]
        yield from proofs
    yield from _amcheck(instance, binaries, user, within)


def _read_databases(connection: psycopg.Connection[TupleRow]) -> list[_Database]:
    """Return the databases. Their names as they are come while nothing is converted; as text afterwards."""
    rows = connection.execute(_DATABASES).fetchall()
    connection.execute("set client_encoding to 'SQL_ASCII'")
    try:
        called: dict[int, bytes] = dict(connection.execute(_CALLED).fetchall())
    finally:
        settle_encoding(connection)
    return [
        _Database(oid, name, version, is_open, called[oid])
        for oid, name, version, is_open in rows
        if oid in called
    ]


def _compare_databases(
    names: Sequence[str], found: Sequence[_Database], *, is_changed: bool
) -> Iterator[Proof]:
    """Hold the databases against the captured ones, and name those that nobody may connect to."""
    missing = sorted(set(names) - {database.name for database in found})
    closed = [
        database.name for database in found if not database.is_open and database.name != NEVER_CONNECTED
    ]
    actual = [] if missing else ["all there"]
    if missing:
        actual.append(
            f"{'dropped or renamed since the base' if is_changed else 'missing'}: {', '.join(missing)}"
        )
    if closed:
        actual.append(f"takes no connections, and is not looked into: {', '.join(closed)}")
    if names or closed:
        yield Proof("databases", is_changed or not missing, ", ".join(names), "; ".join(actual))


def _prove_database(
    connection: psycopg.Connection[Any],
    database: _Database,
    captured: Mapping[str, Any],
    *,
    is_changed: bool,
) -> Iterator[Proof]:
    """Prove what differs by machine: the order of text; and what is not in the WAL: unlogged tables."""
    name, version = database.name, database.collation_version
    before = captured.get("actual_collation_version")
    stale = [row[0] for row in connection.execute(_STALE_INDEXES).fetchall()]
    moved = before is not None and before != version
    text = f"version {version}" + (f"; to reindex: {', '.join(stale)}" if stale else "")
    if version is not None or stale or moved:
        yield Proof(f"collations of {name}", not stale and not moved, f"version {before or version}", text)
    unlogged = [row[0] for row in connection.execute(_UNLOGGED).fetchall()]
    # Unknown of a database that is younger than the base, or was closed.
    expected = captured.get("unlogged_tables")
    if unlogged or expected:
        shown = f"{len(unlogged)}" + (f", all empty: {', '.join(sorted(unlogged))}" if unlogged else "")
        known = "unknown" if expected is None else f"{expected}"
        wanted = f"{known} in the base" if is_changed else known
        ok = is_changed or expected in (None, len(unlogged))
        yield Proof(f"unlogged tables of {name}", ok, wanted, shown[:SHOWN])


def prove_sql(instance: Instance, proofs: Iterable[SqlProof], *, user: str) -> Iterator[Proof]:
    """Run the policy's own queries, read-only, each in a connection of its own."""
    for proof in proofs:
        expected = f"at least {proof.at_least}" if proof.at_least is not None else f"{proof.equals}"
        try:
            with instance.connect(user=user, dbname=proof.dbname, more=SUPERUSER) as connection:
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


def _amcheck(
    instance: Instance, binaries: Binaries, user: str, databases: Iterable[_Database]
) -> Iterator[Proof]:
    """Run pg_amcheck on each database; the extension that it needs is made for it, and dropped again."""
    if binaries.find("pg_amcheck") is None or instance.sockets is None:
        return
    expected = "every index agrees with its table"
    for database in databases:
        # -d would read the name as a pattern; options reach every connection that pg_amcheck makes.
        name, info = database.name, make_conninfo(options=instance.options(CATALOGUE))
        try:
            with instance.connect(user=user, dbname=database.called, more=CATALOGUE) as connection:
                state = connection.execute(
                    "select installed_version from pg_available_extensions where name = 'amcheck'"
                ).fetchone()
                if state is None:
                    return
                if state[0] is None:
                    connection.execute("create extension amcheck schema pg_catalog")
                where = ["-h", str(instance.sockets), "-p", PORT, "-U", user]
                done = binaries.run(
                    "pg_amcheck", "--heapallindexed", *where, os.fsdecode(with_dbname(info, database.called))
                )
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
