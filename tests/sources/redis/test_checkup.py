"""Every statement that a finding prints is run, and mends it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from redis import Redis

from drtool.demo.servers.process import wait_until
from drtool.demo.servers.redis import RedisServer
from drtool.sources.base import Symptom
from drtool.sources.redis.capture import RedisSettings
from drtool.sources.redis.checkup import SENTINEL_RIGHTS, examine
from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.sentinels import Sentinel
from tests.sources.redis.support import Launch, allow, settings_of, take, tilted

NEEDED = ("+psync", "+replconf", "+ping", "+info")
BK = Access("bk", lambda: "pw")


def wrong(settings: RedisSettings) -> list[Symptom]:
    return [symptom for symptom in examine(settings) if symptom.level != "ok"]


def mended(server: RedisServer, symptom: Symptom) -> None:
    """Do what a finding says, where it says so."""
    assert symptom.where == f"redis-cli at {server.endpoint}"
    for statement in symptom.mend:
        with server.connect() as connection:
            connection.call(*statement.split(" "))


def test_a_server_that_is_ready_says_what_a_backup_takes(launch: Launch, version: str) -> None:
    server = launch()
    found = list(examine(settings_of(server)))
    assert [symptom.level for symptom in found] == ["ok", "ok"]
    assert found[0].message.startswith(f"{server.endpoint} is redis {version}.")
    assert found[1].message == f"a backup takes the master {server.endpoint}, 0 s behind"


@pytest.mark.parametrize("missing", [*NEEDED, "nothing but that"])
def test_each_right_that_is_missing_is_granted_by_the_statement(
    launch: Launch, client: Callable[..., Redis], missing: str
) -> None:
    server = launch()
    allow(client(server), *(right for right in NEEDED if right != missing))
    settings = settings_of(server, access=BK)

    found = wrong(settings)

    errors = [symptom for symptom in found if symptom.mend and symptom.level == "error"]
    assert [symptom.mend for symptom in errors] == (
        [] if missing not in NEEDED else [(f"ACL SETUSER bk {missing}",)]
    )
    warnings = [symptom for symptom in found if symptom.level == "warning"]
    assert [symptom.mend for symptom in warnings] == [("ACL SETUSER bk +config|get +acl|list",)]
    for symptom in (*errors, *warnings):
        mended(server, symptom)
    assert wrong(settings) == []
    assert set(take(settings).bytes_of) == {"acl.txt", "config.txt", "dump.rdb"}


def test_a_look_makes_nobody_a_replica_and_stops_no_writes(
    launch: Launch, client: Callable[..., Redis]
) -> None:
    master = launch()
    replica = launch({"replicaof": f"127.0.0.1 {master.port}"})
    wait_until(
        lambda: client(replica).info()["master_link_status"] == "up", "the replica is linked", deadline_s=20
    )
    before = client(master).info()["connected_slaves"], client(master).info()["sync_full"]
    for server in (master, replica):
        assert wrong(settings_of(server)) == []
    assert (client(master).info()["connected_slaves"], client(master).info()["sync_full"]) == before
    assert client(replica).info()["role"] == "slave"
    assert client(replica).info()["sync_full"] == 0
    client(master).set("key", "value")


def test_a_command_that_was_renamed_is_named(launch: Launch) -> None:
    server = launch({"rename-command PSYNC": ""})
    found = wrong(settings_of(server))
    assert [(symptom.level, symptom.mend) for symptom in found] == [("error", ())]
    assert "does not know the command PSYNC" in found[0].message


def test_a_server_that_is_away_is_said(launch: Launch) -> None:
    found = wrong(RedisSettings(endpoint=Endpoint("127.0.0.1", 1)))
    assert {symptom.level for symptom in found} == {"error"}


def test_a_replica_without_its_master_is_said(launch: Launch) -> None:
    server = launch({"replicaof": "127.0.0.1 1"})
    found = wrong(settings_of(server))
    assert ["it has lost its master" in symptom.message for symptom in found] == [True]


def by_sentinel(sentinel: RedisServer, **others: object) -> RedisSettings:
    seen = Sentinel((sentinel.endpoint,), "mymaster", others.pop("access", Access()))  # type: ignore[arg-type]
    return replace(RedisSettings(sentinel=seen), **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_sentinels_that_agree_name_the_replica_that_is_taken(
    launch: Launch, client: Callable[..., Redis], watch: Callable[..., RedisServer]
) -> None:
    master = launch()
    replica = launch({"replicaof": f"127.0.0.1 {master.port}"})
    sentinels = [watch(master), watch(master)]
    settings = by_sentinel(sentinels[0])
    wait_until(lambda: wrong(settings) == [], "all know each other", deadline_s=60)
    wait_until(
        lambda: (
            f"2 Sentinels name {master.endpoint} as mymaster" in [each.message for each in examine(settings)]
        ),
        "both Sentinels are known",
        deadline_s=60,
    )
    last = list(examine(settings))[-1]
    assert last.message.startswith(f"a backup takes the replica {replica.endpoint}, ")


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_without_a_replica_the_policy_must_allow_the_master(
    launch: Launch, watch: Callable[..., RedisServer]
) -> None:
    sentinel = watch(launch())
    (found,) = wrong(by_sentinel(sentinel))
    assert (found.level, found.mend) == ("error", ("allow_master: true",))
    (found,) = wrong(by_sentinel(sentinel, allow_master=True))
    assert found.level == "warning"
    assert "the master is captured instead" in found.message


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_a_sentinel_that_names_another_master_is_set_right(
    launch: Launch, watch: Callable[..., RedisServer], client: Callable[..., Redis]
) -> None:
    master, other = launch(), launch()
    right = [watch(master), watch(master)]
    odd = watch(other)
    settings = replace(
        by_sentinel(right[0], allow_master=True),
        sentinel=Sentinel(tuple(each.endpoint for each in (*right, odd)), "mymaster"),
    )

    (found,) = (symptom for symptom in wrong(settings) if symptom.level == "error")

    assert f"{odd.endpoint} names {other.endpoint}" in found.message
    mended(odd, found)
    assert [symptom for symptom in wrong(settings) if symptom.level == "error"] == []


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_of_sentinels_that_do_not_agree_those_that_know_the_latest_failover_are_right(
    launch: Launch, watch: Callable[..., RedisServer]
) -> None:
    old, new = launch(), launch()
    cut_off = [watch(old), watch(old)]
    knowing = watch(new, **{"sentinel config-epoch mymaster": "5"})
    seen = Sentinel(tuple(each.endpoint for each in (*cut_off, knowing)), "mymaster")
    settings = RedisSettings(sentinel=seen, allow_master=True)
    assert take(settings).captured.facts["node"] == str(new.endpoint)

    found = [symptom for symptom in wrong(settings) if symptom.level == "error"]

    by_place = {each.where: each for each in found}
    assert by_place.keys() == {f"redis-cli at {each.endpoint}" for each in cut_off}
    for each in cut_off:
        mended(each, by_place[f"redis-cli at {each.endpoint}"])
    assert [symptom for symptom in wrong(settings) if symptom.level == "error"] == []


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_sentinels_in_tilt_are_said_with_the_rights_that_a_finding_grants(
    launch: Launch, watch: Callable[..., RedisServer]
) -> None:
    master = launch()
    first, odd = watch(master), watch(launch())
    for each in (first, odd):
        with each.connect() as connection:
            rights = (f"+{right}" for right in SENTINEL_RIGHTS)
            connection.call("ACL", "SETUSER", "bk", "on", ">pw", "-@all", *rights)
    both = Sentinel((first.endpoint, odd.endpoint), "mymaster", BK)
    settings = RedisSettings(sentinel=both, allow_master=True)

    tilted(odd)
    found = wrong(settings)
    assert {symptom.level for symptom in found} == {"warning"}
    assert any(f"the Sentinel {odd.endpoint} is in TILT" in symptom.message for symptom in found)
    tilted(first)
    errors = [symptom.message for symptom in wrong(settings) if symptom.level == "error"]
    assert ["every Sentinel of mymaster that answers is in TILT" in each for each in errors] == [True]


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_two_sentinels_that_name_one_master_each_are_for_a_person_to_judge(
    launch: Launch, watch: Callable[..., RedisServer]
) -> None:
    first, second = watch(launch()), watch(launch())
    settings = RedisSettings(
        sentinel=Sentinel((first.endpoint, second.endpoint), "mymaster"), allow_master=True
    )
    found = [symptom for symptom in wrong(settings) if symptom.level == "error"]
    assert [symptom.mend for symptom in found] == [(), ()]


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_rights_at_sentinel_are_granted_by_the_statement(
    launch: Launch, watch: Callable[..., RedisServer]
) -> None:
    sentinel = watch(launch())
    with sentinel.connect() as connection:
        connection.call("ACL", "SETUSER", "bk", "on", ">pw", "-@all")
    settings = by_sentinel(sentinel, access=BK, allow_master=True)
    found = [symptom for symptom in wrong(settings) if symptom.mend]
    mended(sentinel, found[0])
    assert [symptom for symptom in wrong(settings) if symptom.mend] == []


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_a_sentinel_that_is_away_is_an_error_where_the_policy_names_it(launch: Launch) -> None:
    settings = RedisSettings(sentinel=Sentinel((Endpoint("127.0.0.1", 1),), "mymaster"))
    assert [symptom.level for symptom in wrong(settings)] == ["error"]


@pytest.mark.parametrize("version", ["7.0"], indirect=True)
def test_a_quorum_that_cannot_be_reached_is_an_error(
    launch: Launch, watch: Callable[..., RedisServer]
) -> None:
    master = launch()
    sentinel = watch(master)
    with Connection(sentinel.endpoint, Access()) as connection:
        connection.call("SENTINEL", "SET", "mymaster", "quorum", "3")
    found = [symptom.message for symptom in wrong(by_sentinel(sentinel, allow_master=True))]
    assert any("NOQUORUM" in message for message in found)
