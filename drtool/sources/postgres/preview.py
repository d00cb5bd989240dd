"""What a base backup would meet: asked of the server, which is left as it is. No slot is made, and no heartbeat."""

from contextlib import suppress
from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow

from drtool.errors import SourceUnavailable
from drtool.sources.base import Look
from drtool.sources.postgres.connection import PostgresSettings, Replication, connect
from drtool.sources.postgres.guards import UNLIMITED, OnBacklog, ServerLimits, check_guards
from drtool.sources.postgres.pooler import refuse_pooler
from drtool.sources.postgres.slot import Slot, inspect_slot, read_limits

_SERVER: LiteralString = "select current_setting('server_version'), pg_is_in_recovery()"
# The server looks at every file for it, and may have millions: whoever only wants to know does not wait for long.
_PATIENCE: LiteralString = "set statement_timeout = '3s'"
_SIZE: LiteralString = """
    select sum(pg_database_size(oid))::int8 from pg_database where has_database_privilege(oid, 'connect')"""


def look(settings: PostgresSettings, slot: str, on_backlog: OnBacklog) -> Look:
    """Return what is there, and what would be done with the slot. Raises what a backup would raise at its begin."""
    refuse_pooler(settings)
    with Replication(settings) as replication:
        replication.identify()
    limits, taken = read_limits(settings)
    there = inspect_slot(settings, slot)
    check_guards(limits, on_backlog, taken, is_new=there is None)
    with connect(settings) as connection:
        version, is_standby = connection.execute(_SERVER).fetchall()[0]
        if is_standby:
            raise standby_fault(settings)
        size = _size(connection)
    what = f"PostgreSQL {version.split()[0]} at {settings.host}:{settings.port}"
    return Look(what, size, (_of_slot(slot, there), _of_guards(limits)))


def standby_fault(settings: PostgresSettings) -> SourceUnavailable:
    """Return the error for a server that is a standby."""
    return SourceUnavailable(
        f"PostgreSQL at {settings.who} is a standby: no heartbeat can be written there",
        hint="Name the primary as the volume's host.",
    )


def _size(connection: psycopg.Connection[TupleRow]) -> int | None:
    with suppress(psycopg.Error):
        connection.execute(_PATIENCE)
        size: int | None = connection.execute(_SIZE).fetchall()[0][0]
        return size
    return None


def _of_slot(name: str, slot: Slot | None) -> str:
    if slot is None:
        return f"slot {name} would be made"
    if slot.is_lost:
        return f"slot {name} is lost: a gap in the WAL would be recorded, and the slot be made anew"
    user = f"the receiver with pid {slot.active_pid}" if slot.active_pid else "nobody just now"
    return f"slot {name} is there, used by {user}"


def _of_guards(limits: ServerLimits) -> str:
    keeps = "without a limit" if limits.keep_size_mb == UNLIMITED else f"up to {limits.keep_size_mb} MiB"
    names = limits.synchronous_standby_names
    standbys = (
        f"of the synchronous standbys ({names}) drtool is none" if names else "no standby is synchronous"
    )
    return f"the server keeps WAL for a slot {keeps}; {standbys}"
