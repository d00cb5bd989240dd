"""Every statement that a finding prints is run, and mends it."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer, run
from drtool.sources.base import Symptom
from drtool.sources.postgres.checkup import PSQL, examine
from drtool.sources.postgres.connection import PostgresSettings
from drtool.sources.postgres.guards import OnBacklog
from drtool.sources.postgres.slot import drop_slot, make_slot
from drtool.sources.postgres.standby_names import could_match, without
from tests.sources.postgres.standins import NewServer, eventually

SLOT = "drtool_shop_postgres_0a1b"
USER = "backup user"


def looked(settings: PostgresSettings, on_backlog: OnBacklog = "protect-app") -> list[Symptom]:
    return list(examine(settings, SLOT, on_backlog, "postgres"))


def wrong(settings: PostgresSettings) -> list[Symptom]:
    return [symptom for symptom in looked(settings) if symptom.level != "ok"]


def only(settings: PostgresSettings) -> Symptom:
    found = wrong(settings)
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def server(new_directory: Callable[[], Path]) -> Iterator[PostgresServer]:
    made = PostgresServer.create(
        18, new_directory(), settings={"max_slot_wal_keep_size": "64MB"}, fast=True, wal_segment_mb=1
    )
    with made:
        made.sql(f"create role \"{USER}\" login replication password 'secret'")
        yield made


@pytest.fixture
def user(server: PostgresServer) -> Iterator[PostgresSettings]:
    """Who backs up; afterwards everything is well again."""
    settings = server.settings_for(USER, "secret")
    yield settings
    assert wrong(settings) == []


def mended(server: PostgresServer, symptom: Symptom) -> None:
    """Do what a finding says: its statements, each by itself, in psql's place."""
    assert (symptom.where, bool(symptom.mend)) == (PSQL, True)
    for statement in symptom.mend:
        server.sql(statement)


def test_a_server_that_is_ready_says_so_to_a_role_with_nothing_but_replication(
    server: PostgresServer, user: PostgresSettings
) -> None:
    said = [symptom.message for symptom in looked(user)]
    assert said[0].startswith("PostgreSQL 18.")
    assert said[1:] == [
        f"{USER} may replicate",
        "its settings suit a slot, which keeps up to 64 MiB of WAL",
        f"there is no slot {SLOT} yet: the next backup makes it",
    ]


def test_a_standby_is_no_host_for_a_volume(new_server: NewServer) -> None:
    server = new_server(15)  # the oldest: it answers all that is asked
    server.start()
    assert wrong(server.settings) == []
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    found = only(server.settings)
    assert "standby" in found.message
    assert "primary" in found.hint


def test_a_role_that_may_not_replicate_is_given_the_right(
    server: PostgresServer, user: PostgresSettings
) -> None:
    server.sql(f'alter role "{USER}" noreplication')
    found = only(user)
    assert "REPLICATION" in found.message
    mended(server, found)


def test_a_role_that_may_not_log_in_is_let_in(server: PostgresServer, user: PostgresSettings) -> None:
    server.sql(f'alter role "{USER}" nologin')
    mended(server, only(user))


def test_a_role_that_is_not_there_is_made(server: PostgresServer) -> None:
    with_trust(server, "nobody yet")
    stranger = server.settings_for("nobody yet", "")
    mended(server, only(stranger))
    try:
        assert wrong(stranger) == []
    finally:
        server.sql('drop role "nobody yet"')


def with_trust(server: PostgresServer, name: str) -> None:
    put_first(server, f'host all,replication "{name}" 127.0.0.1/32 trust')


def put_first(server: PostgresServer, line: str) -> None:
    hba = server.data / "pg_hba.conf"
    hba.write_text(f"{line}\n{hba.read_text()}")
    server.sql("select pg_reload_conf()")


REPLICATION, DATABASE = "host replication all 127.0.0.1/32", "host all all 127.0.0.1/32"


@pytest.mark.parametrize(
    ("lines", "opens"),
    [
        ([f"{DATABASE} scram-sha-256"], "replication"),
        (
            [f"{REPLICATION} reject", f"{REPLICATION} scram-sha-256", f"{DATABASE} scram-sha-256"],
            "replication",
        ),
        ([f"{REPLICATION} scram-sha-256"], '"postgres"'),
        ([f"{DATABASE} reject", f"{DATABASE} scram-sha-256", f"{REPLICATION} scram-sha-256"], '"postgres"'),
    ],
)
def test_the_line_that_pg_hba_lacks_lets_the_role_in(
    server: PostgresServer, user: PostgresSettings, lines: list[str], opens: str
) -> None:
    hba = server.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("\n".join(["host all postgres 127.0.0.1/32 scram-sha-256", *lines, ""]))
    server.sql("select pg_reload_conf()")
    eventually(lambda: bool(wrong(user)))

    found = only(user)

    assert found.where == "pg_hba.conf"
    assert found.mend == (f'host  {opens}  "{USER}"  127.0.0.1/32  scram-sha-256',)
    put_first(server, found.mend[0])
    eventually(lambda: not wrong(user))
    hba.write_text(before)
    server.sql("select pg_reload_conf()")


def test_a_limit_is_put_on_what_slots_keep(server: PostgresServer, user: PostgresSettings) -> None:
    server.sql("alter system set max_slot_wal_keep_size = -1")
    server.sql("select pg_reload_conf()")
    eventually(lambda: bool(wrong(user)))
    assert [symptom.level for symptom in looked(user, "protect-rpo") if symptom.level != "ok"] == []
    found = only(user)
    mended(server, found)
    eventually(lambda: not wrong(user))
    server.sql("alter system reset max_slot_wal_keep_size")
    server.sql("select pg_reload_conf()")


@pytest.mark.parametrize("names", ["*", "FIRST 1 (*)", "drtool", "ANY 2 (a, drtool, b)"])
def test_no_commit_waits_for_the_receiver(server: PostgresServer, user: PostgresSettings, names: str) -> None:
    server.sql(f"alter system set synchronous_standby_names = '{names}'")
    server.sql("select pg_reload_conf()")
    eventually(lambda: bool(wrong(user)))
    mended(server, only(user))
    eventually(lambda: not wrong(user))
    server.sql("alter system reset synchronous_standby_names")
    server.sql("select pg_reload_conf()")


@pytest.mark.parametrize(
    ("setting", "standbys", "expected"),
    [
        ("*", ["b", "drtool", "a"], '"a", "b"'),
        ("*", [], ""),
        ("FIRST 3 (*)", ["a", "b"], 'FIRST 2 ("a", "b")'),
        ("2 (a, drtool, b)", [], 'FIRST 2 ("a", "b")'),
        ("any 1 (DRTOOL, b, *)", ["b", "c"], 'ANY 1 ("b", "c")'),
        ('drtool, "a""b"', ["c"], '"a""b"'),
    ],
)
def test_the_standbys_are_named_one_by_one(setting: str, standbys: list[str], expected: str) -> None:
    assert without(setting, "drtool", standbys) == expected
    assert not could_match(expected, "drtool")


def test_a_lost_slot_sends_for_a_new_base(server: PostgresServer, user: PostgresSettings) -> None:
    make_slot(user, SLOT)
    assert "nobody receives just now" in looked(user)[-1].message
    fill_wal(server, 40)
    behind = only(user)
    assert behind.level == "warning"
    assert "64 MiB" in behind.message
    assert behind.mend == ("drtool wal catch-up postgres",)
    fill_wal(server, 90)
    server.sql("checkpoint")
    lost = only(user)
    assert lost.level == "error"
    assert lost.mend == ("drtool wal catch-up postgres", "drtool backup postgres")
    drop_slot(user, SLOT)


def fill_wal(server: PostgresServer, megabytes: int) -> None:
    for _ in range(megabytes):
        server.sql("select pg_logical_emit_message(false, 'test', repeat('x', 1000000))")
        server.sql("select pg_switch_wal()")


def test_a_server_that_cannot_replicate_or_has_no_room_is_mended_by_a_restart(new_server: NewServer) -> None:
    server = new_server(wal_level="minimal", max_wal_senders=0, max_replication_slots=0)
    server.start()
    (found,) = (symptom for symptom in wrong(server.settings) if symptom.mend)
    assert len(found.mend) == 3
    mended(server, found)
    restart(server)
    assert wrong(server.settings) == []


def test_what_is_used_up_is_raised(new_server: NewServer) -> None:
    server = new_server(max_wal_senders=1, max_replication_slots=1)
    server.start()
    server.sql("select pg_create_physical_replication_slot('other')")
    for found in wrong(server.settings):
        mended(server, found)
    restart(server)
    assert wrong(server.settings) == []


def test_data_checksums_are_turned_on(new_server: NewServer) -> None:
    server = new_server()
    run([server.bin_dir / "pg_checksums", "--disable", "-D", server.data], cwd=server.data.parent)
    server.start()
    found = only(server.settings)
    assert found.level == "warning"
    server.stop()
    (statement,) = found.mend
    program, *arguments = shlex.split(statement.replace("$PGDATA", str(server.data)))
    run([server.bin_dir / program, *arguments], cwd=server.data.parent)
    server.start()
    assert wrong(server.settings) == []


def restart(server: PostgresServer) -> None:
    server.stop()
    server.start()


def test_a_server_that_is_away_is_said_once(server: PostgresServer) -> None:
    found = only(replace(server.settings, port=1))
    assert "unreachable" in found.message
    assert found.hint


def test_a_wrong_password_is_said_once(server: PostgresServer) -> None:
    found = only(server.settings_for(USER, "wrong"))
    assert "password" in found.message
    assert found.mend == ()
