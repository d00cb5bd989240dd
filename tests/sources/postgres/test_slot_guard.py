"""The guard of a slot never keeps drtool from ending. What it gives up stands in tests/scenarios/test_slot_limit.py."""

import os
import signal
import time

import pytest

from drtool.sources.postgres import slot_guard
from drtool.sources.postgres.slot import make_slot
from drtool.sources.postgres.slot_guard import SlotGuard
from tests.sources.postgres.standins import NewServer, eventually

SLOT = "drtool_test_postgres"


def test_a_server_that_hangs_does_not_keep_a_guard_from_ending(
    new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_guard, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(slot_guard, "PATIENCE_S", 1.0)
    server = new_server()
    server.start()
    make_slot(server.settings, SLOT)
    ours = "select pid from pg_stat_activity where query like '%pg_wal_lsn_diff%' and pid <> pg_backend_pid()"
    guard = SlotGuard(server.settings, SLOT, None, lambda backlog: None)
    with guard:
        eventually(lambda: server.sql(ours))
        [(pid,)] = server.sql(ours)
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
    try:
        assert time.monotonic() - begun < 5
    finally:
        os.kill(pid, signal.SIGCONT)
