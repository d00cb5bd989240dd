"""Queues as kombu writes them: bindings, lists with and without a priority, what workers had taken."""

import json
from typing import Any

import pytest

from drtool.demo.servers.process import wait_until
from drtool.demo.servers.redis import RedisServer
from drtool.sources.redis.queues import HELD, treat
from tests.sources.redis.support import Connect, Launch, settings_of

SEPARATOR = "\x06\x16"


def message(number: int) -> str:
    properties = {"delivery_tag": f"tag-{number}", "delivery_info": {"exchange": "", "routing_key": "celery"}}
    return json.dumps({"body": f"{number}", "headers": {"task": "mail"}, "properties": properties})


def publish(redis: Any, queue: str, *numbers: int, prefix: str = "") -> None:
    """Put messages into a queue as a producer does: the binding, then each on the left of the list."""
    name = queue.partition(SEPARATOR)[0]
    redis.sadd(f"{prefix}_kombu.binding.{name}", SEPARATOR.join((name, "", name)))
    for number in numbers:
        redis.lpush(f"{prefix}{queue}", message(number))


def take(redis: Any, number: int, prefix: str = "") -> None:
    """Note that a worker has taken a message, and not acknowledged it."""
    redis.hset(f"{prefix}unacked", f"tag-{number}", json.dumps([message(number), "", "celery"]))
    redis.zadd(f"{prefix}unacked_index", {f"tag-{number}": 1000.0 + number})


def consumed(redis: Any, queue: str) -> list[int]:
    """Return what a worker would take, in its order."""
    return [int(json.loads(each)["body"]) for each in reversed(redis.lrange(queue, 0, -1))]


@pytest.fixture
def broker(launch: Launch, client: Connect) -> RedisServer:
    server = launch(password="secret")
    redis = client(server)
    publish(redis, "celery", *range(1, 7))
    publish(redis, f"mail{SEPARATOR}3", 11, 12)
    take(redis, 21)
    take(redis, 22)
    publish(client(server, 5), "index", 31, prefix="site:")
    take(client(server, 5), 32, prefix="site:")
    redis.rpush("articles", "of the cache")
    redis.set("celery-task-meta-1", "{}")
    return server


ALL = [
    (0, "celery", 6),
    (0, "mail, priority 3", 2),
    (0, "unacked", 2),
    (5, "site:index", 1),
    (5, "site:unacked", 1),
]


def told(server: RedisServer, doing: Any) -> list[tuple[int, str, int]]:
    return [(each.database, each.name, each.messages) for each in treat(settings_of(server), doing)]


def test_all_queues_are_listed_with_their_messages_and_nothing_else(broker: RedisServer) -> None:
    assert told(broker, "list") == ALL
    assert [each.is_held for each in treat(settings_of(broker), "list")] == [False] * 5


def test_what_is_held_is_read_by_no_worker_and_given_back_as_it_was(
    broker: RedisServer, client: Connect
) -> None:
    redis = client(broker)
    before = {key: redis.dump(key) for key in redis.keys("*")}

    assert told(broker, "hold") == ALL
    assert told(broker, "hold") == []
    assert not redis.exists("celery", f"mail{SEPARATOR}3", "unacked", "unacked_index")
    assert redis.lrange("articles", 0, -1) == [b"of the cache"]
    assert [each.is_held for each in treat(settings_of(broker), "list")] == [True] * 5

    assert told(broker, "release") == ALL
    assert told(broker, "release") == []
    assert {key: redis.dump(key) for key in redis.keys("*")} == before
    assert client(broker, 5).llen("site:index") == 1


def test_held_messages_are_taken_before_those_that_came_since(broker: RedisServer, client: Connect) -> None:
    redis = client(broker)
    treat(settings_of(broker), "hold")
    publish(redis, "celery", 7, 8)
    take(redis, 23)

    treat(settings_of(broker), "release")
    assert consumed(redis, "celery") == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(redis.hkeys("unacked")) == [b"tag-21", b"tag-22", b"tag-23"]
    assert redis.zrange("unacked_index", 0, -1, withscores=True) == [
        (b"tag-21", 1021.0),
        (b"tag-22", 1022.0),
        (b"tag-23", 1023.0),
    ]


def test_queues_that_are_held_again_are_held_in_order(broker: RedisServer, client: Connect) -> None:
    redis = client(broker)
    treat(settings_of(broker), "hold")
    publish(redis, "celery", *range(7, 3000))
    treat(settings_of(broker), "hold")
    assert not redis.exists("celery")

    treat(settings_of(broker), "release")
    assert consumed(redis, "celery") == list(range(1, 3000))


def test_many_held_messages_go_back_in_order_below_those_that_came_since(
    launch: Launch, client: Connect
) -> None:
    server = launch()
    redis = client(server)
    publish(redis, "celery", *range(2500))
    treat(settings_of(server), "hold")
    publish(redis, "celery", 2500)

    assert told(server, "release") == [(0, "celery", 2500)]
    assert consumed(redis, "celery") == list(range(2501))


def test_what_was_held_half_is_held_whole_by_whoever_comes_again(
    broker: RedisServer, client: Connect
) -> None:
    redis = client(broker)
    redis.rename("celery", HELD + b"celery")

    assert (0, "celery", 6) not in told(broker, "hold")
    treat(settings_of(broker), "release")
    assert consumed(redis, "celery") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("doing", ["purge", "discard"])
def test_what_is_purged_is_gone_and_what_is_told_is_what_was_there(
    broker: RedisServer, client: Connect, doing: str
) -> None:
    if doing == "discard":
        treat(settings_of(broker), "hold")
    assert told(broker, doing) == ALL
    assert told(broker, "list") == []
    assert sorted(client(broker).keys("*")) == [
        b"_kombu.binding.celery", b"_kombu.binding.mail", b"articles", b"celery-task-meta-1",
    ]  # fmt: skip


def test_a_replica_that_is_asked_leads_to_its_master(
    broker: RedisServer, launch: Launch, client: Connect
) -> None:
    replica = launch({"replicaof": f"127.0.0.1 {broker.port}", "masterauth": "secret"}, password="secret")
    wait_until(lambda: client(replica).llen("celery") == 6, "the replica is filled", deadline_s=20)

    treat(settings_of(replica), "hold")
    assert not client(broker).exists("celery")
