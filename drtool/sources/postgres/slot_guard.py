"""The slot is given up before the WAL that it keeps harms the server, however long the object store is away.

max_slot_wal_keep_size is the server's own guard, and acts at checkpoints only, when the disk may hold much more. So
who uses the slot looks at it meanwhile, in a thread of its own, which needs no store.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import LiteralString, Self

import psycopg
from psycopg.rows import TupleRow

from drtool.errors import DrtoolError
from drtool.sources.postgres.connection import PostgresSettings, connect

LOOK_EVERY_S = 5.0
SHARE_PERCENT = 80  # of max_slot_wal_keep_size
PATIENCE_S = 10.0  # with a server that hangs, when the guard is to end
_TERMINATE_MS = 5000

_BACKLOG: LiteralString = """
    select pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                                else pg_current_wal_lsn() end, restart_lsn)::int8,
           (select setting::int8 << 20 from pg_settings where name = 'max_slot_wal_keep_size' and setting <> '-1')
    from pg_replication_slots where slot_name = %s and restart_lsn is not null"""
_TERMINATE: LiteralString = """
    select pg_terminate_backend(active_pid, %s)
    from pg_replication_slots where slot_name = %s and active_pid is not null"""
_DROP: LiteralString = """
    select pg_drop_replication_slot(slot_name)
    from pg_replication_slots where slot_name = %s and active_pid is null"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a slot keeps, and when it is too much, in bytes; limit None: never."""

    size: int
    limit: int | None


class SlotGuard:
    """Watches one slot while it is entered, and drops it where its backlog is beyond the limit and still grows.

    The limit is slot_limit, and never more than SHARE_PERCENT of max_slot_wal_keep_size. A backlog that shrinks is
    being fetched, and is left alone. A server that cannot be asked is asked again.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        slot: str,
        slot_limit: int | None,
        dropped: Callable[[Backlog], None],
    ) -> None:
        """dropped is called once after each drop, in the guard's thread."""
        self._settings = settings
        self._slot = slot
        self._slot_limit = slot_limit
        self._dropped = dropped
        self._before: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drtool-slot-guard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)  # what it asked last may never be answered; it ends with the process

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._settings) as connection:
                    while not self._stop.is_set():
                        self._look(connection)
                        self._stop.wait(LOOK_EVERY_S)
            except (psycopg.Error, DrtoolError):
                self._stop.wait(LOOK_EVERY_S)

    def _look(self, connection: psycopg.Connection[TupleRow]) -> None:
        backlog = self._backlog(connection)
        if backlog is None or backlog.limit is None or backlog.size <= backlog.limit:
            self._before = None
            return
        before, self._before = self._before, backlog.size
        if before is not None and backlog.size > before:
            connection.execute(_TERMINATE, (_TERMINATE_MS, self._slot))
            if connection.execute(_DROP, (self._slot,)).fetchone() is not None:
                self._before = None
                self._dropped(backlog)

    def _backlog(self, connection: psycopg.Connection[TupleRow]) -> Backlog | None:
        row = connection.execute(_BACKLOG, (self._slot,)).fetchone()
        if row is None:
            return None
        size, keep_size = row
        limits = [self._slot_limit, None if keep_size is None else keep_size * SHARE_PERCENT // 100]
        return Backlog(size, min((limit for limit in limits if limit is not None), default=None))
