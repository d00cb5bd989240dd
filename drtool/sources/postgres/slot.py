"""The reserved slot that keeps WAL for drtool, the guards under which it is made, and the heartbeat.

A slot must never stop the application: an unlimited one fills the primary's disk while drtool is away, and a
receiver that counts as synchronous standby holds up every commit.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString, Protocol

import psycopg
from psycopg.rows import TupleRow

from drtool.errors import DrtoolError, Refused
from drtool.sources.base import Json
from drtool.sources.postgres.connection import PostgresSettings, connect
from drtool.sources.postgres.faults import command_fault
from drtool.sources.postgres.guards import OnBacklog, ServerLimits, TakenSlot, check_guards
from drtool.sources.postgres.survey import HEARTBEAT_PREFIX
from drtool.sources.postgres.wal import parse_lsn

_SLOT: LiteralString = "select to_jsonb(s) from pg_replication_slots s where slot_name = %s"
_SERVER: LiteralString = """
    select (select setting::int8 from pg_settings where name = 'max_slot_wal_keep_size'),
           current_setting('synchronous_standby_names'), current_setting('wal_level'),
           current_setting('max_replication_slots')::int, (select count(*) from pg_replication_slots),
           current_setting('max_wal_senders')::int, (select count(*) from pg_stat_replication)"""
_TAKEN: LiteralString = """
    select s.slot_name, s.slot_type, s.database, s.active_pid, r.application_name, r.usename,
           pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                                else pg_current_wal_lsn() end, s.restart_lsn)::int8 kept
    from pg_replication_slots s left join pg_stat_replication r on r.pid = s.active_pid
    order by s.active_pid is not null, kept desc nulls last, s.slot_name"""
_MAKE: LiteralString = "select pg_create_physical_replication_slot(%s, true)"
_DROP: LiteralString = "select pg_drop_replication_slot(%s)"
_HEARTBEAT: LiteralString = """
    select pg_logical_emit_message(true, %s, %s)::text, clock_timestamp(), pg_current_xact_id()::text, seen
    from set_config('synchronous_commit', 'local', true),
         regexp_replace(pg_current_snapshot()::text, '^[0-9]+:', '') seen
    where seen <> %s"""


@dataclass(frozen=True, slots=True)
class Slot:
    """What the server says of a slot. restart_lsn is the oldest WAL it keeps; None once it was lost.

    safe_wal_size is how many bytes may still be written before it is in danger, None if that has no limit.
    """

    name: str
    active_pid: int | None
    restart_lsn: int | None
    wal_status: str | None
    safe_wal_size: int | None
    invalidation: str | None

    @property
    def is_lost(self) -> bool:
        """Whether WAL that it should keep is gone: a gap, to be recorded."""
        return self.wal_status == "lost" or self.invalidation is not None


@dataclass(frozen=True, slots=True)
class Beat:
    """A message in the WAL: its position, and the server's time just before it."""

    lsn: int
    time: datetime
    idle: str = (
        ""  # the server's transactions as they look while none has ended since: next one, those under way
    )


def slot_name(policy: str, volume: str, repository: str) -> str:
    """Return `drtool_<policy>_<volume>_<4 digits of repository>`, with _ for -: at most the 63 bytes that a name has.

    Two repositories of one server need a slot each: what one acknowledges, the server drops for the other.
    """
    return f"drtool_{policy}_{volume}_{repository[:4]}".replace("-", "_")


def inspect_slot(settings: PostgresSettings, name: str) -> Slot | None:
    """Return what the server says of the slot, None if there is none."""
    with _asking(settings) as ask:
        return _look(ask, name)


def make_slot(settings: PostgresSettings, name: str, on_backlog: OnBacklog = "protect-app") -> Slot:
    """Return the slot of that name, made if there is none: it keeps WAL from the moment of this call.

    Raises Refused, with every cause, where a slot could stop the application; TemporaryFailure where all slots or
    walsenders are in use. A lost slot is returned as it is: dropping it is the caller's, who records the gap.
    """
    with _asking(settings) as ask:
        existing = _look(ask, name)
        check_guards(_limits(ask), on_backlog, _taken(ask), is_new=existing is None)
        if existing is not None:
            return existing
        try:
            ask("make the slot", _MAKE, name)
        except DrtoolError:  # a follower and a backup that begin at once both make it: one is faster
            if _look(ask, name) is None:
                raise
        made = _look(ask, name)
    if made is None:
        raise Refused(f"slot {name} is gone again", hint="Something else drops slots on this server.")
    return made


def drop_slot(settings: PostgresSettings, name: str) -> None:
    """Drop the slot; silent if there is none. Raises TemporaryFailure while a receiver uses it."""
    with _asking(settings) as ask:
        if _look(ask, name) is not None:
            ask("drop the slot", _DROP, name)


def read_limits(settings: PostgresSettings) -> tuple[ServerLimits, list[TakenSlot]]:
    """Ask the server for what decides whether a slot may be made, and for the slots that are there."""
    with _asking(settings) as ask:
        return _limits(ask), _taken(ask)


def heartbeat(settings: PostgresSettings, content: Json) -> Beat:
    """Commit a message with content into the WAL; REPLICATION is right enough, and no table is needed.

    Committed locally only, so that a dead synchronous standby does not hold it up. Raises on a standby.
    """
    [beat] = _beats(settings, content, "")
    return beat


def next_heartbeat(settings: PostgresSettings, content: Json, last: Beat) -> Beat | None:
    """Commit another message if a transaction that may have written has ended since last; None on an idle server.

    The server's own records (checkpoints, running transactions) do not count: they would keep it awake for ever.
    """
    return next(iter(_beats(settings, content, last.idle)), None)


def _beats(settings: PostgresSettings, content: Json, idle: str) -> list[Beat]:
    with _asking(settings) as ask:
        rows = ask("write a heartbeat", _HEARTBEAT, HEARTBEAT_PREFIX, json.dumps(content), idle)
    return [
        Beat(parse_lsn(lsn), moment.astimezone(UTC), f"{int(own) + 1}:{seen.partition(':')[2]}")
        for lsn, moment, own, seen in rows
    ]


def _slot(row: dict[str, Any]) -> Slot:
    lsn = row["restart_lsn"]
    return Slot(
        name=row["slot_name"],
        active_pid=row["active_pid"],
        restart_lsn=None if lsn is None else parse_lsn(lsn),
        wal_status=row["wal_status"],
        safe_wal_size=row["safe_wal_size"],
        invalidation=row.get("invalidation_reason"),  # since 17
    )


class _Ask(Protocol):
    """Runs one statement, and returns its rows; what stands first names it in an error."""

    def __call__(self, what: str, statement: LiteralString, *parameters: object) -> list[TupleRow]: ...


@contextmanager
def _asking(settings: PostgresSettings) -> Iterator[_Ask]:
    """Connect once, for as many statements as there are."""
    with connect(settings) as connection:

        def ask(what: str, statement: LiteralString, *parameters: object) -> list[TupleRow]:
            try:
                return connection.execute(statement, parameters or None).fetchall()
            except psycopg.Error as cause:
                raise command_fault(settings.who, what, cause.sqlstate, str(cause)) from cause

        yield ask


def _look(ask: _Ask, name: str) -> Slot | None:
    rows = ask("look at the slot", _SLOT, name)
    return _slot(rows[0][0]) if rows else None


def _limits(ask: _Ask) -> ServerLimits:
    return ServerLimits(*ask("read the server's limits", _SERVER)[0])


def _taken(ask: _Ask) -> list[TakenSlot]:
    """Return the slots of the server: those that nobody uses first, and of these what keeps most."""
    return [TakenSlot(*row) for row in ask("list the slots", _TAKEN)]
