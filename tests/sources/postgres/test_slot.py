"""The slot and its guards: it is made only where it cannot stop the application."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.errors import Refused, SourceUnavailable, TemporaryFailure
from drtool.sources.postgres.connection import connect
from drtool.sources.postgres.guards import ServerLimits, TakenSlot, objections, shortages
from drtool.sources.postgres.receiver import Receiver
from drtool.sources.postgres.slot import (
    drop_slot,
    heartbeat,
    inspect_slot,
    make_slot,
    next_heartbeat,
    slot_name,
)
from drtool.sources.postgres.standby_names import could_match
from drtool.sources.postgres.wal import parse_lsn
from tests.sources.postgres.standins import MemorySink, NewServer, eventually, in_background, start_of


@pytest.mark.parametrize(
    ("setting", "matches"),
    [
        ("", False),
        ("*", True),
        ('"*"', True),
        ("drtool", True),
        ("DrTool", True),
        ('"drtool"', True),
        ("standby1, standby2", False),
        ("standby1, drtool", True),
        ("2 (a, b)", False),
        ("FIRST 1 (a, *)", True),
        ("first 2 (a, drtool)", True),
        ("ANY 1 (drtool, b)", True),
        ("ANY 1 (b, c)", False),
        ('ANY 1 ("drtool, b", c)', False),
        ('FIRST 1 ("a""drtool")', False),
        ('FIRST 1 ("any (drtool")', False),
        ("drtool_standby", False),
    ],
)
def test_a_receiver_that_could_be_a_synchronous_standby_is_found(setting: str, *, matches: bool) -> None:
    assert could_match(setting, "drtool") is matches


HARMLESS = ServerLimits(1024, "", "replica", 10, 0, 10, 0)


@pytest.mark.parametrize(
    ("limits", "on_backlog", "said"),
    [
        (HARMLESS, "protect-app", None),
        (ServerLimits(-1, "", "replica", 10, 0, 10, 0), "protect-app", "max_slot_wal_keep_size is unlimited"),
        (ServerLimits(-1, "", "replica", 10, 0, 10, 0), "protect-rpo", None),
        (
            ServerLimits(1024, "ANY 1 (*)", "replica", 10, 0, 10, 0),
            "protect-rpo",
            "synchronous_standby_names",
        ),
        (ServerLimits(1024, "", "minimal", 10, 0, 0, 0), "protect-app", "cannot replicate"),
        (ServerLimits(1024, "", "replica", 0, 0, 10, 0), "protect-app", "max_replication_slots 0"),
    ],
)
def test_each_guard_objects_by_name(limits: ServerLimits, on_backlog: str, said: str | None) -> None:
    found = objections(limits, on_backlog)  # type: ignore[arg-type]  # a table of both words
    assert [said in message for message, _ in found if said] == ([True] if said else [])
    assert bool(found) is (said is not None)


def test_of_many_slots_the_ones_that_nobody_uses_are_named_first_and_the_rest_is_counted() -> None:
    taken = [TakenSlot("cdc", "logical", "shop", None, None, None, 5 << 30)]
    taken += [TakenSlot(f"s{n}", "physical", None, 70 + n, "walreceiver", "repl", 0) for n in range(11)]
    [short] = shortages(ServerLimits(1024, "", "replica", 12, 12, 20, 0), taken, is_new=True)
    begin = "all 12 replication slots are in use: cdc (logical on shop, not active, keeps 5120 MiB of WAL), "
    assert short.message.startswith(
        begin + "s0 (physical, active by walreceiver 70 as repl, keeps 0 MiB of WAL), "
    )
    assert short.message.endswith(", and 2 more (max_replication_slots)")
    assert "'cdc'" in short.hint
    [short] = shortages(ServerLimits(1024, "", "replica", 11, 11, 20, 0), taken[1:], is_new=True)
    assert short.hint == "Run `ALTER SYSTEM SET max_replication_slots = 16`, and restart the server."


def test_a_slot_name_fits_with_the_longest_policy_and_volume() -> None:
    assert slot_name("wesago", "post-gres", "3f9ac0") == "drtool_wesago_post_gres_3f9a"
    assert len(slot_name("p" * 25, "v" * 25, "0123456789abcdef")) <= 63


def test_a_slot_keeps_wal_from_the_moment_it_is_made(server: PostgresServer) -> None:
    settings = server.settings_for("replicator", "secret")
    before = parse_lsn(server.sql("select pg_current_wal_insert_lsn()::text")[0][0])
    made = make_slot(settings, "drtool_test_made")
    assert made.restart_lsn is not None
    assert made.restart_lsn <= before + 1024
    assert (made.wal_status, made.is_lost, made.active_pid) == ("reserved", False, None)
    assert make_slot(settings, "drtool_test_made") == made
    drop_slot(settings, "drtool_test_made")
    drop_slot(settings, "drtool_test_made")
    assert inspect_slot(settings, "drtool_test_made") is None


def test_an_unlimited_server_gets_a_slot_only_on_request(new_server: NewServer) -> None:
    server = new_server(max_slot_wal_keep_size=-1, synchronous_standby_names="FIRST 1 (other)")
    server.start()
    with pytest.raises(Refused) as refused:
        make_slot(server.settings, "drtool_test_p")
    assert "ALTER SYSTEM SET max_slot_wal_keep_size" in refused.value.hint
    assert inspect_slot(server.settings, "drtool_test_p") is None
    assert make_slot(server.settings, "drtool_test_p", "protect-rpo").restart_lsn is not None


def test_full_slots_and_walsenders_are_a_reason_to_wait(new_server: NewServer) -> None:
    server = new_server(max_replication_slots=1, max_wal_senders=1)
    server.start()
    make_slot(server.settings, "drtool_test_p")
    server.sql("create role replicator login replication password 'secret'")
    user = server.settings_for("replicator", "secret")
    with pytest.raises(TemporaryFailure) as full:
        make_slot(user, "drtool_test_other")
    assert full.value.message == (
        "all 1 replication slots are in use: drtool_test_p (physical, not active, keeps 0 MiB of WAL) "
        "(max_replication_slots)"
    )
    assert "`SELECT pg_drop_replication_slot('drtool_test_p')`" in full.value.hint
    assert "`ALTER SYSTEM SET max_replication_slots = 6`" in full.value.hint
    start = start_of(server)
    stopping: list[bool] = []
    receiver = Receiver(server.settings, "drtool_test_p", start, MemorySink())
    run = in_background(lambda: receiver.follow(1, lambda: bool(stopping)))
    eventually(lambda: server.sql("select 1 from pg_stat_replication"))
    with pytest.raises(
        TemporaryFailure, match=r"in use: drtool_test_p \(physical, active by drtool \d+ as postgres, "
    ):
        make_slot(user, "drtool_test_other")
    with pytest.raises(TemporaryFailure, match="all 1 walsenders are in use") as busy:
        make_slot(server.settings, "drtool_test_p")
    assert "`ALTER SYSTEM SET max_wal_senders = 6`" in busy.value.hint
    with pytest.raises(TemporaryFailure, match=r"drop the slot .*active for PID"):
        drop_slot(server.settings, "drtool_test_p")
    with pytest.raises(TemporaryFailure, match="no free walsender"):
        start_of(server)
    stopping.append(True)
    run.result(10)


def test_a_server_without_replication_is_refused_with_what_mends_it(new_server: NewServer) -> None:
    server = new_server(wal_level="minimal", max_wal_senders=0)
    server.start()
    with pytest.raises(Refused, match="wal_level minimal, max_wal_senders 0"):
        make_slot(server.settings, "drtool_test_p")


def test_a_heartbeat_is_in_the_wal_with_its_content(server: PostgresServer) -> None:
    beat = heartbeat(server.settings_for("replicator", "secret"), {"policy": "wesago"})
    flushed = parse_lsn(server.sql("select pg_current_wal_flush_lsn()::text")[0][0])
    assert beat.lsn <= flushed
    segment, offset = server.sql("select * from pg_walfile_name_offset(%s::pg_lsn)", f"0/{beat.lsn:X}")[0]
    content = (server.data / "pg_wal" / segment).read_bytes()[:offset]
    assert json.dumps({"policy": "wesago"}).encode() in content[-200:]
    assert abs(beat.time - server.sql("select clock_timestamp()")[0][0]).total_seconds() < 10


def test_a_heartbeat_does_not_wait_for_a_dead_synchronous_standby(new_server: NewServer) -> None:
    server = new_server(synchronous_standby_names="gone")
    server.start()
    assert in_background(lambda: heartbeat(server.settings, {})).result(10).lsn > 0


def test_a_role_without_replication_may_not_make_a_slot(server: PostgresServer) -> None:
    server.sql("create role nobody login password 'secret'")
    with pytest.raises(SourceUnavailable, match=r"permission denied|must be superuser"):
        make_slot(server.settings_for("nobody", "secret"), "drtool_test_p")
    server.sql("drop role nobody")


def test_a_heartbeat_follows_only_what_may_have_been_committed(server: PostgresServer) -> None:
    server.sql("create table if not exists beaten (x int)")
    first = heartbeat(server.settings, {})
    server.sql("checkpoint")
    server.sql("select 1")
    assert next_heartbeat(server.settings, {}, first) is None
    server.sql("insert into beaten values (1)")
    second = next_heartbeat(server.settings, {}, first)
    assert second is not None
    assert second.lsn > first.lsn
    assert next_heartbeat(server.settings, {}, second) is None


def test_a_heartbeat_follows_a_transaction_that_began_before_the_last_one(server: PostgresServer) -> None:
    server.sql("create table if not exists beaten (x int)")
    with connect(server.settings) as connection, connection.transaction():
        connection.execute("insert into beaten values (2)")
        first = heartbeat(server.settings, {})
        second = next_heartbeat(server.settings, {}, first) or first
        assert next_heartbeat(server.settings, {}, second) is None
    assert next_heartbeat(server.settings, {}, second) is not None


def test_those_who_make_a_slot_at_once_all_get_it(new_server: NewServer) -> None:
    server = new_server()
    server.start()
    with ThreadPoolExecutor(6) as pool:
        for number in range(5):
            name = f"drtool_test_{number}"
            made = list(pool.map(lambda _, name=name: make_slot(server.settings, name), range(6)))
            assert {slot.name for slot in made} == {name}
