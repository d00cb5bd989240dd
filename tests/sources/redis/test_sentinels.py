"""Real Sentinels that do not say the same: one that was cut off from a failover, one that does not trust its clock."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from redis import Redis

from drtool.demo.servers.process import wait_until
from drtool.demo.servers.redis import RedisServer
from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.redis.capture import RedisSettings
from drtool.sources.redis.checkup import examine
from drtool.sources.redis.connection import Access, Endpoint
from drtool.sources.redis.info import Info
from drtool.sources.redis.nodes import master_endpoint
from drtool.sources.redis.sentinels import Sentinel, ask
from tests.sources.redis.support import Launch, number, take, tilted

Watch = Callable[..., RedisServer]
NAME = "mymaster"
pytestmark = pytest.mark.parametrize("version", ["7.0"], indirect=True)


def seen(*sentinels: RedisServer, access: Access | None = None) -> Sentinel:
    return Sentinel(tuple(each.endpoint for each in sentinels), NAME, access or Access())


def told(sentinel: RedisServer, *command: str) -> object:
    with sentinel.connect() as connection:
        return connection.call("SENTINEL", *command)


def test_a_sentinel_that_was_cut_off_from_a_failover_is_outvoted(launch: Launch, watch: Watch) -> None:
    old = launch(password="pw")
    new = launch({"replicaof": f"127.0.0.1 {old.port}"}, password="pw")
    cut_off = watch(old, **{f"sentinel auth-pass {NAME}": "wrong"})  # hears of no other Sentinel
    told(cut_off, "SET", NAME, "quorum", "9")
    knowing = watch(old)
    wait_until(lambda: len(ask(seen(knowing))[1]) == 1, "Sentinel knows the replica", deadline_s=30)

    told(knowing, "FAILOVER", NAME)
    with pytest.raises(TemporaryFailure, match=f"failing {NAME} over"):
        ask(seen(knowing))
    wait_until(lambda: number(old, "master_repl_offset") and _is_replica(old), "it is over", deadline_s=60)

    settings = RedisSettings(sentinel=seen(cut_off), access=old.access)
    with pytest.raises(TemporaryFailure, match=f"names {old.endpoint} as the master, and it is a replica"):
        take(settings)
    with pytest.raises(TemporaryFailure, match=f"names {old.endpoint} as the master, and it is a replica"):
        take(replace(settings, allow_master=True))  # which allows what is a master
    told_by_doctor = [*examine(replace(settings, allow_master=True))][-1]
    assert (told_by_doctor.level, "and it is a replica" in told_by_doctor.message) == ("error", True)
    wait_until(
        lambda: _master(seen(cut_off, knowing)) == new.endpoint, "the failover is known", deadline_s=30
    )
    wait_until(lambda: bool(ask(seen(cut_off, knowing))[1]), "its replica is known", deadline_s=30)
    point = take(RedisSettings(sentinel=seen(cut_off, knowing), access=old.access))
    assert point.captured.facts["node"] == str(old.endpoint)


def _is_replica(server: RedisServer) -> bool:
    with server.connect() as connection:
        info = Info.of(connection)
    return info.is_replica and info.text("master_link_status") == "up"


def _master(sentinel: Sentinel) -> Endpoint | None:
    try:
        return master_endpoint(sentinel)
    except TemporaryFailure:
        return None


def test_a_sentinel_in_tilt_is_not_believed_and_those_that_it_knows_are_asked(
    launch: Launch, watch: Watch
) -> None:
    master = launch()
    first, steady, odd = watch(master), watch(master), watch(launch())
    wait_until(lambda: _others(first) == 1, "the Sentinels know each other", deadline_s=30)
    assert ask(seen(tilted(odd), steady))[0] == master.endpoint
    assert ask(seen(tilted(first)))[0] == master.endpoint  # by the word of the other one
    with pytest.raises(TemporaryFailure, match="every Sentinel of mymaster that answers is in TILT"):
        ask(seen(odd))


def _others(sentinel: RedisServer) -> int:
    with Redis(port=sentinel.port, decode_responses=True) as redis:
        return int(redis.sentinel_master(NAME)["num-other-sentinels"])


def test_of_those_that_know_as_much_most_decide_and_a_tie_is_for_a_person(
    launch: Launch, watch: Watch
) -> None:
    master = launch()
    right, also_right, odd = watch(master), watch(master), watch(launch())
    wait_until(lambda: _others(right) == _others(also_right) == 1, "they know each other", deadline_s=30)
    assert ask(seen(odd, right, also_right))[0] == master.endpoint
    also_right.kill()
    told(right, "RESET", "*")
    with pytest.raises(SourceUnavailable, match="do not agree on mymaster: as many name"):
        ask(seen(odd, right))


def test_who_may_ask_for_the_master_and_its_replicas_alone_is_answered(launch: Launch, watch: Watch) -> None:
    master = launch()
    sentinel = watch(master)
    with sentinel.connect() as connection:
        rights = ("-@all", "+sentinel|master", "+sentinel|replicas")
        connection.call("ACL", "SETUSER", "bk", "on", ">pw", *rights)
    assert ask(seen(sentinel, access=Access("bk", lambda: "pw"))) == (master.endpoint, [])
