"""Which instance is captured: rules over INFO, and a real Sentinel with a master and two replicas."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

from drtool.demo.servers.process import wait_until
from drtool.demo.servers.redis import RedisServer, redis_program
from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.redis.capture import RedisSettings
from drtool.sources.redis.connection import Access, Endpoint
from drtool.sources.redis.info import Info
from drtool.sources.redis.nodes import Limits, not_now, too_little_memory
from drtool.sources.redis.sentinels import Sentinel
from tests.sources.redis.support import Launch, take

HEALTHY = {"role": "slave", "master_link_status": "up", "master_last_io_seconds_ago": "2", "loading": "0"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"role": "master", "master_link_status": "down"}, ""),
        ({"loading": "1"}, "loading"),
        ({"async_loading": "1"}, "loading"),
        ({"master_link_status": "down"}, "lost its master"),
        ({"master_sync_in_progress": "1"}, "filled"),
        ({"master_last_io_seconds_ago": "31"}, "31 s"),
        ({"master_last_io_seconds_ago": "30"}, ""),
    ],
)
def test_an_instance_is_left_alone_while_its_data_is_not_whole(change: dict[str, str], reason: str) -> None:
    told = not_now(Info(HEALTHY | change), Limits())
    assert reason in told
    assert bool(reason) == bool(told)


@pytest.mark.parametrize(
    ("limits", "too_little"),
    [
        (Limits(), False),
        (Limits(memory_bytes=1400), True),
        (Limits(memory_bytes=1500), False),
        (Limits(memory_bytes=1400, cow_factor=0.4), False),
        (Limits(cow_factor=2), True),
    ],
)
def test_memory_must_hold_what_is_written_while_it_saves(limits: Limits, *, too_little: bool) -> None:
    info = Info({"used_memory": "1000", "used_memory_rss": "1000", "total_system_memory": "2000"})
    assert bool(too_little_memory(info, limits)) == too_little


def test_a_server_that_has_not_looked_at_its_memory_yet_has_as_much_as_its_data() -> None:
    info = Info({"used_memory": "1000", "used_memory_rss": "0", "total_system_memory": "2000"})
    assert too_little_memory(info, Limits(memory_bytes=1400))
    assert not too_little_memory(info, Limits(memory_bytes=1500))


def test_info_is_read_as_pairs() -> None:
    info = Info.parse(
        "# Server\r\nredis_version:7.0.15\r\nmodule:name=a\r\nmodule:name=b\r\ndb0:keys=5,expires=1\r\n"
    )
    assert (info.version, info.flavour, info.modules) == ("7.0.15", "redis", ("name=a", "name=b"))
    assert info.keys() == {"0": 5}
    valkey = Info.parse("redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n")
    assert (valkey.version, valkey.flavour) == ("8.0.1", "valkey")


@dataclass
class Topology:
    """A master, two replicas, and a Sentinel that knows all of them."""

    master: RedisServer
    replicas: list[RedisServer]
    sentinel: RedisServer

    def settings(self, *, allow_master: bool = False) -> RedisSettings:
        access = Access(password=lambda: "pw")
        nobody = Endpoint("127.0.0.1", 1)
        sentinel = Sentinel((nobody, self.sentinel.endpoint), "mymaster")
        return RedisSettings(sentinel=sentinel, access=access, allow_master=allow_master)


@pytest.fixture
def topology(launch: Launch, tmp_path: Path, version: str) -> Iterator[Topology]:
    master = launch(password="pw")
    Redis(port=master.port, password="pw").set("key", "value")
    replicas = [launch({"replicaof": f"127.0.0.1 {master.port}"}, password="pw") for _ in range(2)]
    wait_until(lambda: all(_follows(replica) for replica in replicas), "the replicas follow", deadline_s=20)
    sentinel = RedisServer.create_sentinel(redis_program(version), tmp_path / "sentinel", master)
    sentinel.start()
    wait_until(
        lambda: _known_replicas(sentinel) == len(replicas), "Sentinel knows the replicas", deadline_s=20
    )
    yield Topology(master, replicas, sentinel)
    sentinel.kill()


def _follows(server: RedisServer) -> bool:
    with server.connect() as connection:
        return Info.of(connection).text("master_link_status") == "up"


def _is_idle(server: RedisServer) -> bool:
    with server.connect() as connection:
        return not Info.of(connection).number("rdb_bgsave_in_progress")


def _known_replicas(sentinel: RedisServer) -> int:
    with Redis(port=sentinel.port, decode_responses=True) as redis:
        return sum(one["flags"] == "slave" for one in redis.sentinel_slaves("mymaster"))


def test_a_replica_is_captured_and_kept_to(topology: Topology) -> None:
    nodes = {str(replica.endpoint) for replica in topology.replicas}
    for node in [*sorted(nodes), *sorted(nodes)]:
        wait_until(lambda: all(map(_is_idle, topology.replicas)), "the replicas have saved", deadline_s=10)
        point = take(topology.settings(), SimpleNamespace(facts={"node": node}))
        assert point.captured.facts["node"] == node
        assert point.captured.facts["role"] == "replica"
        assert point.captured.facts["keys"] == {"0": 1}


def test_the_other_replica_is_taken_when_one_is_gone_and_the_master_only_when_allowed(
    topology: Topology,
) -> None:
    first, second = topology.replicas
    first.kill()
    gone = SimpleNamespace(facts={"node": str(first.endpoint)})
    assert take(topology.settings(), gone).captured.facts["node"] == str(second.endpoint)
    second.kill()
    with pytest.raises(SourceUnavailable, match="no replica of mymaster") as raised:
        take(topology.settings())
    assert "allow_master" in raised.value.hint
    point = take(topology.settings(allow_master=True))
    assert point.captured.facts["node"] == str(topology.master.endpoint)
    assert point.captured.facts["role"] == "master"


@pytest.mark.parametrize("version", ["7.0"])
def test_a_replica_that_saves_or_stopped_following_is_not_taken(topology: Topology) -> None:
    first, second = topology.replicas
    with Redis(port=first.port, password="pw") as redis:
        redis.replicaof("NO", "ONE")
    assert take(topology.settings()).captured.facts["node"] == str(second.endpoint)
    with Redis(port=second.port, password="pw") as redis:
        redis.config_set("rdb-key-save-delay", 5_000_000)
        wait_until(lambda: _is_idle(second), "the replica has saved", deadline_s=10)
        redis.bgsave()
    with pytest.raises(TemporaryFailure, match=r"saving.*no replica any more|no replica any more.*saving"):
        take(topology.settings())


def test_sentinels_that_do_not_answer_are_named() -> None:
    sentinel = Sentinel((Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)), "mymaster")
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1:1.*127\.0\.0\.1:2"):
        take(RedisSettings(sentinel=sentinel))


@pytest.mark.parametrize("version", ["7.0"])
def test_a_master_that_no_sentinel_knows_is_said(topology: Topology) -> None:
    sentinel = Sentinel((topology.sentinel.endpoint,), "another")
    with pytest.raises(SourceUnavailable, match="No such master"):
        take(RedisSettings(sentinel=sentinel))
