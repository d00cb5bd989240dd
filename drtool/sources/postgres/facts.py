"""What a recovery must know beside the bytes: settings, databases, collations, slots, and what will not come back.

Read over SQL with whatever rights the role has: REPLICATION alone is enough, and what it may not see is named
in facts["not_read"], never left out in silence.
"""

from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow, dict_row

from drtool.errors import DrtoolError
from drtool.sources.base import Json
from drtool.sources.postgres.connection import PostgresSettings, connect
from drtool.sources.postgres.faults import command_fault

# A recovery refuses to run, or pauses, where the first five are lower than they were on the primary.
RECOVERY_SETTINGS = (
    "max_connections",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "max_wal_senders",
    "max_worker_processes",
    "wal_level",
    "track_commit_timestamp",
    "shared_preload_libraries",
    "data_checksums",
    "block_size",
    "wal_block_size",
    "config_file",
    "hba_file",
    "ident_file",
    "data_directory",
)
NAMES_KEPT = 100  # of unlogged tables, a database

_DATABASES: LiteralString = """
    select datname as name, oid::int8 as oid, pg_encoding_to_char(encoding) as encoding, datcollate as collate,
           datctype as ctype, datlocprovider::text as provider, datcollversion as collation_version,
           pg_database_collation_actual_version(oid) as actual_collation_version, datallowconn as connectable
    from pg_database order by datname"""
_CONTROL: LiteralString = """
    select pg_control_version, catalog_version_no, checkpoint_time
    from pg_control_system(), pg_control_checkpoint()"""
_SLOTS: LiteralString = """
    select slot_name as name, slot_type as type, plugin, database, active
    from pg_replication_slots order by slot_name"""
_SOURCES: LiteralString = """
    select coalesce(sourcefile, source) as source, array_agg(name order by name) as names
    from pg_settings where source not in ('default', 'override', 'client', 'session') group by 1 order by 1"""
_UNLOGGED: LiteralString = """
    select count(*) over () as total, oid::regclass::text as name
    from pg_class where relpersistence = 'u' and relkind in ('r', 'p', 'm', 'S') order by 2 limit %s"""
_EXTENSIONS: LiteralString = "select extname as name, extversion as version from pg_extension order by 1"


def server_time(settings: PostgresSettings) -> datetime:
    """Return the server's clock, UTC."""
    with connect(settings) as connection:
        return _clock(settings, connection)


def read_facts(settings: PostgresSettings) -> Json:
    """Return what the server tells about itself; facts["begin"] is its clock when asked, ISO 8601 in UTC.

    Raises only if no connection comes about: each refusal of a right is noted in facts["not_read"].
    """
    with connect(settings) as connection:
        facts: Json = {"begin": _clock(settings, connection).isoformat(), "not_read": {}}
        reader = _Reader(connection, facts["not_read"])
        facts["standby"] = bool(reader.value("standby", "select pg_is_in_recovery() as value"))
        facts["control"] = reader.first("control", _CONTROL)
        facts["settings"] = _settings(reader)
        facts["setting_sources"] = {
            row["source"]: row["names"] for row in reader.rows("setting sources", _SOURCES)
        }
        facts["slots"] = reader.rows("slots", _SLOTS)
        facts["databases"] = reader.rows("databases", _DATABASES)
    for database in facts["databases"]:
        if database.pop("connectable"):
            _read_database(settings, database, facts["not_read"])
    return facts


def _settings(reader: "_Reader") -> dict[str, str]:
    statement: LiteralString = "select name, setting from pg_settings where name = any(%s)"
    found = {
        row["name"]: row["setting"] for row in reader.rows("settings", statement, list(RECOVERY_SETTINGS))
    }
    for name in sorted(set(RECOVERY_SETTINGS) - set(found)):
        reader.not_read[f"setting {name}"] = "hidden from this role: grant it pg_read_all_settings"
    return found


def _read_database(settings: PostgresSettings, database: Json, not_read: dict[str, str]) -> None:
    """Add to database what only a connection to it tells: tables that come back empty, and extensions."""
    try:
        connection = connect(settings, database["name"])
    except DrtoolError as refused:
        not_read[f"database {database['name']}"] = refused.message
        return
    with connection:
        reader = _Reader(connection, not_read)
        what = f"unlogged tables of {database['name']}"
        unlogged = reader.rows(what, _UNLOGGED, NAMES_KEPT)
        if what not in not_read:
            database["unlogged_tables"] = unlogged[0]["total"] if unlogged else 0
            database["unlogged_names"] = [row["name"] for row in unlogged]
        database["extensions"] = reader.rows(f"extensions of {database['name']}", _EXTENSIONS)


def _clock(settings: PostgresSettings, connection: psycopg.Connection[TupleRow]) -> datetime:
    try:
        moment: datetime = connection.execute("select clock_timestamp()").fetchall()[0][0]
    except psycopg.Error as cause:
        raise command_fault(settings.who, "clock_timestamp()", cause.sqlstate, str(cause)) from cause
    return moment.astimezone(UTC)


class _Reader:
    """Asks one thing at a time, and notes what is refused instead of failing."""

    def __init__(self, connection: psycopg.Connection[TupleRow], not_read: dict[str, str]) -> None:
        self._connection = connection
        self.not_read = not_read

    def rows(self, what: str, statement: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        try:
            with self._connection.cursor(row_factory=dict_row) as cursor:
                return [_plain(row) for row in cursor.execute(statement, parameters or None)]
        except psycopg.Error as refused:
            self.not_read[what] = str(refused).splitlines()[0]
            return []

    def first(self, what: str, statement: LiteralString) -> dict[str, Any]:
        return next(iter(self.rows(what, statement)), {})

    def value(self, what: str, statement: LiteralString) -> object:
        return self.first(what, statement).get("value")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return row as JSON can hold it: moments as ISO 8601 in UTC."""
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }
