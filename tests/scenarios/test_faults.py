"""Faults of servers and of the store, through the command line: each is its own error, with a hint and an exit code.

Nothing is half-written, and earlier points stay: the fixtures look.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.demo.servers.process import wait_until
from drtool.operations import session
from tests.scenarios.conftest import System

PASSWORD = {"env": "WRONG"}
SLOT = "drtool_scenario_postgres_"  # and four digits of the repository

SOURCES = [  # nothing listens on port 1, which is given to no server of another test either
    pytest.param("postgres", {"port": 1}, "is unreachable", id="no PostgreSQL"),
    pytest.param("postgres", {"password": PASSWORD}, "refuses the password", id="password of PostgreSQL"),
    pytest.param("postgres", {"database": "none"}, "knows no such role or database", id="no such database"),
    pytest.param(
        "postgres",
        {"user": "plain", "password": {"env": "PLAIN_PASSWORD"}},
        "has no REPLICATION right",
        id="no right to replicate",
    ),
    pytest.param("redis", {"port": 1}, "nothing listens on", id="no Redis"),
    pytest.param("redis", {"password": PASSWORD}, "does not accept this user", id="password of Redis"),
    pytest.param("redis", {"password": None}, "asks for a password", id="no password is given"),
]


@pytest.mark.parametrize(("volume", "changes", "message"), SOURCES)
def test_a_source_that_is_away_or_refuses_fails_its_volume_with_6(
    untouched: System, volume: str, changes: dict[str, object], message: str
) -> None:
    drtool = untouched.drtool.but(volume, **changes)
    before = untouched.objects()
    planned = drtool("backup", volume, "--dry-run", code=6)
    assert untouched.objects() == before
    said = drtool("backup", volume, code=6)
    assert message in said.error["message"]
    assert planned.error == said.error


def test_a_user_of_redis_that_may_not_replicate_is_found_by_a_dry_run(untouched: System) -> None:
    with untouched.scene.redis.connect() as connection:
        connection.call("ACL", "SETUSER", "half", "on", "nopass", "~*", "+@all", "-psync")
        drtool = untouched.drtool.but("redis", username="half", password={"env": "WRONG"})
        errors = [drtool("backup", "redis", *dry, code=6).error for dry in (("--dry-run",), ())]
        connection.call("ACL", "DELUSER", "half")
    assert "psync" in errors[0]["message"].lower()
    assert errors[0] == errors[1]


def test_one_volume_that_fails_does_not_stop_the_other(system: System) -> None:
    said = system.drtool.but("postgres", port=1)("backup", code=3)
    assert {each["volume"]: each["outcome"] for each in said.value["volumes"]} == {
        "postgres": "failed",
        "redis": "done",
    }


STORES = [
    pytest.param({"url": "s3://no-bucket/here"}, 7, "there is no bucket no-bucket", id="no bucket"),
    pytest.param({"access_key": PASSWORD}, 7, "does not know the access key", id="wrong access key"),
    pytest.param({"secret_key": PASSWORD}, 7, "refuses the secret key", id="wrong secret key"),
    pytest.param({"secret_key": {"env": "NOWHERE"}}, 2, "NOWHERE", id="no secret key"),
    pytest.param({"endpoint": "http://127.0.0.1:1"}, 75, "is not available", id="no store"),
]


@pytest.mark.parametrize(("changes", "code", "message"), STORES)
def test_a_store_that_is_away_or_refuses_is_said_by_every_command(
    untouched: System, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], code: int, message: str
) -> None:
    monkeypatch.setattr(session, "STORE_PATIENCE_S", 0.5)
    drtool = untouched.drtool.but("repository", **changes)
    for arguments in (("backup",), ("wal", "catch-up"), ("status",), ("points",), ("verify",)):
        assert message in drtool(*arguments, code=code).error["message"], arguments
    target = untouched.scene.directory / "target"
    assert message in drtool.restore("redis", target, code=code).error["message"]


@contextmanager
def altered(server: PostgresServer, name: str, value: str) -> Iterator[None]:
    """Change a setting of a running server, and put it back."""

    def show() -> str:
        return str(server.sql(f"show {name}")[0][0])

    before = show()
    server.sql(f"alter system set {name} = '{value}'")
    server.sql("select pg_reload_conf()")
    wait_until(lambda: show() != before, f"{name} is {value}", deadline_s=10)
    try:
        yield
    finally:
        server.sql(f"alter system reset {name}")
        server.sql("select pg_reload_conf()")
        wait_until(lambda: show() == before, f"{name} is {before} again", deadline_s=10)


NEED_A_SLOT = (("backup", "postgres"), ("wal", "catch-up"))


GUARDS = [
    ("max_slot_wal_keep_size", "-1", "max_slot_wal_keep_size is unlimited"),
    ("synchronous_standby_names", "*", "synchronous_standby_names (*) takes in the receiver"),
]


@pytest.mark.parametrize(("name", "value", "message"), GUARDS)
def test_a_slot_that_could_stop_the_application_is_refused(
    untouched: System, name: str, value: str, message: str
) -> None:
    with altered(untouched.scene.postgres, name, value):
        for command in NEED_A_SLOT:
            error = untouched.drtool(*command, code=5).error
            assert message in error["message"]
            assert untouched.drtool(*command, "--dry-run", code=5).error == error


def test_an_unlimited_slot_is_used_where_the_policy_says_so(system: System) -> None:
    with altered(system.scene.postgres, "max_slot_wal_keep_size", "-1"):
        system.drtool.but("postgres", on_backlog="protect-rpo")("wal", "catch-up")


def test_all_that_speaks_against_a_slot_is_said_at_once(untouched: System) -> None:
    server = untouched.scene.postgres
    with altered(server, "max_slot_wal_keep_size", "-1"), altered(server, "synchronous_standby_names", "*"):
        message = untouched.drtool("backup", "postgres", code=5).error["message"]
    assert "max_slot_wal_keep_size" in message
    assert "synchronous_standby_names" in message


def test_a_server_without_a_free_slot_is_asked_again_later(system: System) -> None:
    server = system.scene.postgres
    [ours] = [name for name in slots(server) if name.startswith(SLOT)]
    for name in slots(server):  # those that the repositories of other files left are not to be named first
        server.sql("select pg_drop_replication_slot(%s)", name)
    taken = int(server.sql("show max_replication_slots")[0][0])
    for number in range(taken):
        server.sql("select pg_create_physical_replication_slot(%s)", f"taken_{number}")
    try:
        points = system.objects("snap/")
        for command in NEED_A_SLOT:
            error = system.drtool(*command, code=75).error
            planned = system.drtool(*command, "--dry-run", code=75).error
            assert (
                planned["message"].partition(" (physical")[0] == error["message"].partition(" (physical")[0]
            )
            assert "replication slots are in use: taken_0 (physical, not active, keeps " in error["message"]
            assert "pg_drop_replication_slot('taken_0')" in error["hint"]
            assert "ALTER SYSTEM SET max_replication_slots = " in error["hint"]
        assert system.objects("snap/") == points
    finally:
        for number in range(taken):
            server.sql("select pg_drop_replication_slot(%s)", f"taken_{number}")
    system.drtool("wal", "catch-up")
    assert ours in slots(server)


def slots(server: PostgresServer) -> list[str]:
    return [name for (name,) in server.sql("select slot_name from pg_replication_slots")]


def test_a_backup_needs_no_room_on_any_disk_of_its_own(system: System) -> None:
    """Nothing may be written to any file, as on a full scratch disk, and both volumes are backed up all the same."""
    process = system.drtool.start("backup")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))
    said = system.drtool.end(process)
    assert said.code == 0, said.err
    assert [each["outcome"] for each in said.value["volumes"]] == ["done", "done"]
