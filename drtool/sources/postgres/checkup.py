"""Is this instance ready to be backed up: whether it lets us in, its settings, its slots, each with what mends it.

A role with nothing but LOGIN and REPLICATION can ask all of it. Nothing is changed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

from drtool.errors import DrtoolError
from drtool.sources.base import Symptom
from drtool.sources.postgres.connection import APPLICATION_NAME, PostgresSettings, Replication, connect
from drtool.sources.postgres.faults import POOLER_HINT, CannotReplicate
from drtool.sources.postgres.guards import (
    CANNOT_REPLICATE_HINT,
    MORE,
    SYNCHRONOUS_HINT,
    UNLIMITED,
    UNLIMITED_HINT,
    OnBacklog,
    ServerLimits,
    TakenSlot,
    objections,
    shortages,
)
from drtool.sources.postgres.pooler import refuse_pooler
from drtool.sources.postgres.slot import Slot, inspect_slot, read_limits
from drtool.sources.postgres.standby_names import without
from drtool.sources.postgres.wal import parse_lsn

MIB = 1 << 20
NEEDED_WALSENDERS = 2  # a base backup, and the receiver beside it
HALF = 2  # a slot that holds more than half of what it may is behind
PSQL, PG_HBA = "psql, as a superuser", "pg_hba.conf"

_RELOAD = "SELECT pg_reload_conf()"
_RESTART = "Restart the server afterwards: this is read only at its start."
_SERVER: LiteralString = """
    select current_setting('server_version'), pg_is_in_recovery(), current_setting('data_checksums') = 'on',
           (select rolreplication or rolsuper from pg_roles where rolname = current_user),
           (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end)::text,
           (select coalesce(array_agg(distinct application_name), '{}') from pg_stat_replication)"""


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself. lsn is how far its WAL goes; walreceivers are names of applications."""

    version: str
    is_standby: bool
    has_checksums: bool
    may_replicate: bool
    lsn: int
    walreceivers: tuple[str, ...]


def examine(
    settings: PostgresSettings, slot: str | None, on_backlog: OnBacklog, volume: str
) -> Iterator[Symptom]:
    """Yield what was found. slot is the name of the volume's slot, None where the repository is not known."""
    server: Server | None = None
    refusals: list[str] = []
    try:
        server = _look(settings)
        refuse_pooler(settings)
        yield Symptom("ok", f"PostgreSQL {server.version} lets {settings.user} in")
    except DrtoolError as fault:
        refusals.append(fault.message)
        yield _closed(fault, settings, settings.dbname)
        if fault.hint == POOLER_HINT:  # what else it is asked tells nothing of the server
            return
    if server is not None and not server.may_replicate:
        yield _no_right(settings)
    try:
        with Replication(settings) as replication:
            replication.identify()
        yield Symptom("ok", f"{settings.user} may replicate")
    except DrtoolError as fault:
        is_said = fault.message in refusals or (server is not None and not server.may_replicate)
        is_said |= server is not None and isinstance(fault, CannotReplicate)  # its settings say it below
        if not is_said or "pg_hba.conf" in fault.message:
            yield _closed(fault, settings, "replication")
    if server is not None:
        yield from _settings(server, settings, on_backlog)
        yield from _slots(server, settings, slot, volume)


def _look(settings: PostgresSettings) -> Server:
    with connect(settings) as connection:
        row = connection.execute(_SERVER).fetchall()[0]
    version, is_standby, has_checksums, may_replicate, lsn, receivers = row
    return Server(
        version.split()[0], is_standby, has_checksums, may_replicate, parse_lsn(lsn), tuple(receivers)
    )


def _no_right(settings: PostgresSettings) -> Symptom:
    return Symptom(
        "error",
        f"the role {settings.user} has no REPLICATION right",
        "Neither a base backup nor WAL can be read without it; a superuser grants it.",
        (f"ALTER ROLE {_quoted(settings.user)} REPLICATION",),
        PSQL,
    )


def _closed(fault: DrtoolError, settings: PostgresSettings, door: str) -> Symptom:
    """Return why there is no connection to door, a database or replication, with what opens it."""
    user, text = settings.user, fault.message
    address = re.search(r'host "([^"]+)"|\[local\]', text)
    if "pg_hba.conf" in text and address:
        kind, place = ("host", f"  {_mask(address[1])}") if address[1] else ("local", "")
        name = door if door == "replication" else _quoted(door)
        hint = f"Put this line above all others, for the first that fits counts; then run {_RELOAD}."
        line = f"{kind}  {name}  {_quoted(user)}{place}  scram-sha-256"
        return Symptom("error", text, hint, (line,), PG_HBA)
    if re.search(rf'role "{re.escape(user)}" does not exist', text):
        made = f"CREATE ROLE {_quoted(user)} LOGIN REPLICATION"
        return Symptom("error", text, "Give it the policy's password with \\password.", (made,), PSQL)
    if "is not permitted to log in" in text:
        return Symptom("error", text, fault.hint, (f"ALTER ROLE {_quoted(user)} LOGIN",), PSQL)
    if "no REPLICATION right" in text:
        return _no_right(settings)
    return Symptom("error", text, fault.hint)


def _mask(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _set(name: str, value: object) -> str:
    text = str(value).replace("'", "''")
    return f"ALTER SYSTEM SET {name} = '{text}'"


def _settings(server: Server, settings: PostgresSettings, on_backlog: OnBacklog) -> Iterator[Symptom]:
    limits, _ = read_limits(settings)
    found = objections(limits, on_backlog)
    for message, hint in found:
        yield _objection(message, hint, limits, server)
    if not found:
        keeps = "without a limit" if limits.keep_size_mb == UNLIMITED else f"up to {limits.keep_size_mb} MiB"
        yield Symptom("ok", f"its settings suit a slot, which keeps {keeps} of WAL")
    if server.is_standby:
        yield Symptom(
            "error",
            "it is a standby: no heartbeat can be written there",
            "Name the primary as the volume's host.",
        )
    if not server.has_checksums:
        yield Symptom(
            "warning",
            "data checksums are off: a page that its disk damaged is backed up as it is",
            "Stop the server, run this as its own user, and start it again; it reads all data once.",
            ('pg_checksums --enable --pgdata="$PGDATA"',),
            "shell, on the server",
        )


def _objection(message: str, hint: str, limits: ServerLimits, server: Server) -> Symptom:
    mend: tuple[str, ...] = ()
    if hint == UNLIMITED_HINT:
        mend = (_set("max_slot_wal_keep_size", "10GB"), _RELOAD)
        hint = "Half of the room for WAL is a good limit; on_backlog: protect-rpo in the policy does without."
    elif hint == SYNCHRONOUS_HINT:
        names = without(limits.synchronous_standby_names, APPLICATION_NAME, server.walreceivers)
        mend = (_set("synchronous_standby_names", names), _RELOAD)
        hint = "Name the synchronous standbys one by one: look whether this holds all of them."
    elif hint == CANNOT_REPLICATE_HINT:
        wrong = (
            ("wal_level", "replica", limits.wal_level == "minimal"),
            ("max_wal_senders", 10, not limits.max_walsenders),
            ("max_replication_slots", 10, not limits.max_slots),
        )
        mend = tuple(_set(name, value) for name, value, is_wrong in wrong if is_wrong)
        hint = _RESTART
    return Symptom("error", message, hint, mend, PSQL)


def _slots(server: Server, settings: PostgresSettings, name: str | None, volume: str) -> Iterator[Symptom]:
    limits, taken = read_limits(settings)
    slot = inspect_slot(settings, name) if name else None
    yield from _room(limits, taken, slot)
    if slot is not None:
        yield _slot(slot, server, limits, volume)
    elif name:
        yield Symptom("ok", f"there is no slot {name} yet: the next backup makes it")


def _room(limits: ServerLimits, taken: list[TakenSlot], slot: Slot | None) -> Iterator[Symptom]:
    can_replicate = limits.max_walsenders and limits.max_slots
    for short in shortages(limits, taken, is_new=slot is None) if can_replicate else ():
        hint = f"Or end what is not used any more. {_RESTART}"
        yield Symptom("error", short.message, hint, (_set(short.setting, short.value),), PSQL)
    free = limits.max_walsenders - limits.walsenders
    is_ours = slot is not None and slot.active_pid is not None
    if 0 < free < NEEDED_WALSENDERS - is_ours:
        yield Symptom(
            "warning",
            f"one walsender is free of {limits.max_walsenders}: a base backup and its WAL take two",
            _RESTART,
            (_set("max_wal_senders", limits.max_walsenders + MORE),),
            PSQL,
        )


def _slot(slot: Slot, server: Server, limits: ServerLimits, volume: str) -> Symptom:
    if slot.is_lost:
        return Symptom(
            "error",
            f"slot {slot.name} is lost: the server has dropped WAL that was not fetched yet",
            "What was committed in between cannot be restored; a new base backup ends the gap.",
            (f"drtool wal catch-up {volume}", f"drtool backup {volume}"),
            "shell",
        )
    held = server.lsn - (slot.restart_lsn or server.lsn)
    limit = limits.keep_size_mb * MIB
    user = f"receiver with pid {slot.active_pid}" if slot.active_pid else "nobody receives just now"
    said = f"slot {slot.name} keeps {held // MIB} MiB of WAL; {user}"
    if slot.wal_status == "unreserved" or (limit > 0 and held > limit // HALF):
        return Symptom(
            "warning",
            f"{said}; it is lost at {limits.keep_size_mb} MiB",
            "Fetch the WAL, and look why nobody did.",
            (f"drtool wal catch-up {volume}",),
            "shell",
        )
    return Symptom("ok", said)
