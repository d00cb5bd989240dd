"""Captures of real servers: what comes, what it claims, and what is said when it cannot."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from drtool.demo.servers.process import wait_until
from drtool.demo.servers.redis import RedisServer
from drtool.errors import Refused, SourceUnavailable, TemporaryFailure
from drtool.sources.redis.capture import RedisSettings, RedisSource
from drtool.sources.redis.connection import Access, Endpoint
from drtool.sources.redis.nodes import Limits
from drtool.sources.redis.rdb.checksum import Checksum
from drtool.sources.redis.refusals import CommandRefused
from tests.sources.redis.support import Connect, Launch, allow, fill, settings_of, take

SLOW = {"rdb-key-save-delay": "2000"}  # microseconds a key


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_a_capture_brings_a_whole_rdb_and_says_what_it_is(
    launch: Launch, client: Connect, version: str, diskless: str
) -> None:
    server = launch({"repl-diskless-sync": diskless, "databases": "20"}, password="s3cret")
    before = datetime.now(UTC)
    fill(client, server, int(before.timestamp() * 1000))
    point = take(settings_of(server))
    facts = point.captured.facts
    checksum = Checksum()
    checksum.update(point.rdb)
    assert facts["crc"] == checksum.finish()
    assert facts["bytes"] == len(point.rdb)
    assert facts["keys"] == {str(db): client(server, db).dbsize() for db in (0, 5)}
    assert facts["replid"] == client(server).info("replication")["master_replid"]
    assert (facts["role"], facts["rdb_version"]) == ("master", {"6.2": 9, "7.0": 10}[version])
    assert facts["server"]["version"].startswith(version)
    assert facts["server"]["databases"] == 20
    assert facts["missing"] == {}
    assert point.captured.begin == point.captured.end
    assert before - timedelta(milliseconds=1) <= point.captured.begin <= datetime.now(UTC)
    assert b"user default" in point.bytes_of["acl.txt"]
    assert b"databases 20\n" in point.bytes_of["config.txt"]
    assert "s3cret" not in repr(facts) + repr(point.entries) + repr(settings_of(server))


def test_the_server_keeps_no_replica_after_a_capture(launch: Launch, client: Connect) -> None:
    server = launch()
    take(settings_of(server))
    redis = client(server)
    wait_until(
        lambda: redis.info("replication")["connected_slaves"] == 0, "the replica is gone", deadline_s=5
    )


def test_an_empty_server_gives_an_empty_rdb(launch: Launch) -> None:
    point = take(settings_of(launch()))
    assert point.captured.facts["keys"] == {}
    assert point.rdb.startswith(b"REDIS")


def test_a_server_without_checksums_is_recorded_as_unverified(launch: Launch) -> None:
    assert take(settings_of(launch({"rdbchecksum": "no"}))).captured.facts["crc"] == "none"


def test_a_server_that_waits_before_it_forks_is_waited_for(launch: Launch) -> None:
    server = launch({"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "2"})
    point = take(settings_of(server, read_timeout_s=1.8))
    assert point.captured.facts["bytes"] == len(point.rdb)


def test_a_user_with_three_commands_suffices_and_what_it_may_not_read_is_named(
    launch: Launch, client: Connect
) -> None:
    server = launch()
    allow(client(server), "+psync", "+replconf", "+info")
    point = take(settings_of(server, access=Access("bk", lambda: "pw")))
    assert set(point.bytes_of) == {"dump.rdb"}
    assert set(point.captured.facts["missing"]) == {"acl", "config"}
    assert point.captured.facts["server"]["names_known"] is False


@pytest.mark.parametrize("missing", ["psync", "replconf", "info"])
def test_a_missing_right_is_named_with_the_statement_that_grants_it(
    launch: Launch, client: Connect, missing: str
) -> None:
    server = launch()
    rights = [f"+{name}" for name in ("psync", "replconf", "info") if name != missing]
    allow(client(server), *rights)
    settings = settings_of(server, access=Access("bk", lambda: "pw"))
    with pytest.raises(CommandRefused, match=f"user bk run {missing.upper()}") as raised:
        take(settings)
    statement = raised.value.hint.split("`")[1]
    assert f"+{missing}" in statement
    with server.connect() as connection:
        connection.call(*statement.split(" "))
    assert take(settings).rdb


@pytest.mark.parametrize(
    ("access", "says"),
    [
        (Access(password=lambda: "wr0ng"), "does not accept"),
        (Access("nobody", lambda: "wr0ng"), "does not accept"),
        (Access(), "asks for a password"),
    ],
)
def test_a_wrong_password_is_said_and_never_repeated(launch: Launch, access: Access, says: str) -> None:
    with pytest.raises(SourceUnavailable, match=says) as raised:
        take(settings_of(launch(password="right"), access=access))
    assert "wr0ng" not in repr(raised.value) + raised.value.hint + repr(access)


def test_a_password_for_a_server_that_has_none_is_said(launch: Launch) -> None:
    with pytest.raises(SourceUnavailable, match=r"has no password"):
        take(settings_of(launch(), access=Access(password=lambda: "pw")))


def test_a_server_that_does_not_run_is_said() -> None:
    with pytest.raises(SourceUnavailable, match="nothing listens"):
        take(RedisSettings(Endpoint("127.0.0.1", 1)))


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_a_server_killed_midway_voids_the_capture(launch: Launch, client: Connect, diskless: str) -> None:
    server = launch({**SLOW, "repl-diskless-sync": diskless})
    redis = client(server)
    redis.mset({f"key:{index}": "x" * 5000 for index in range(2000)})
    forked = threading.Thread(target=_kill_once_saving, args=(redis, server))
    with RedisSource(settings_of(server)).capture(None) as capture:
        forked.start()
        with pytest.raises(SourceUnavailable, match="closed the connection early"):
            [b"".join(artifact.stream) for artifact in capture]
        with pytest.raises(SourceUnavailable, match="not read to its end"):
            capture.result()
    forked.join()


def _kill_once_saving(redis: Redis, server: RedisServer) -> None:
    wait_until(lambda: redis.info("persistence")["rdb_bgsave_in_progress"], "the server saves", deadline_s=10)
    server.kill()


def test_a_capture_that_takes_too_long_ends_at_its_deadline(launch: Launch, client: Connect) -> None:
    server = launch(SLOW)
    client(server).mset({f"key:{index}": "x" * 5000 for index in range(2000)})
    with pytest.raises(SourceUnavailable, match=r"did not finish|did not answer"):
        take(settings_of(server, deadline_s=0.3))


def test_a_replica_without_its_master_is_not_captured(launch: Launch) -> None:
    with pytest.raises(TemporaryFailure, match="lost its master"):
        take(settings_of(launch({"replicaof": "127.0.0.1 1"})))


def test_a_server_with_too_little_memory_to_fork_is_not_captured(launch: Launch) -> None:
    with pytest.raises(Refused, match="MiB"):
        take(settings_of(launch(), limits=Limits(memory_bytes=1024 * 1024)))


def test_a_capture_that_was_not_read_to_its_end_has_no_result(launch: Launch) -> None:
    with RedisSource(settings_of(launch())).capture(None) as capture:
        for _ in capture:
            pass
        with pytest.raises(SourceUnavailable, match="not read to its end"):
            capture.result()
