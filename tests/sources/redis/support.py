"""Helpers of the Redis tests: capture into memory, shuffle into pieces, fill a server with all there is."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis import Redis

from drtool.demo.servers.process import wait_until
from drtool.demo.servers.redis import RedisServer
from drtool.sources.base import Artifact, Captured, Entry, Piece
from drtool.sources.redis.capture import RedisSettings, RedisSource
from drtool.sources.redis.info import Info

Launch = Callable[..., RedisServer]
Connect = Callable[..., Redis]

QUICK = {"save": "", "repl-diskless-sync-delay": "0"}
HOUR_MS = 3_600_000


@dataclass
class Point:
    """A capture, kept in memory."""

    bytes_of: dict[str, bytes]
    entries: list[Entry]
    captured: Captured

    @property
    def rdb(self) -> bytes:
        return self.bytes_of["dump.rdb"]

    def pieces(self, size: int = 4096) -> list[Piece]:
        """Return all bytes in pieces, in no order."""
        each = [
            Piece(path, at, data[at : at + size])
            for path, data in self.bytes_of.items()
            for at in range(0, len(data), size)
        ]
        random.Random(7).shuffle(each)
        return each

    def altered(self, rdb: bytes) -> "Point":
        """Return this point with other bytes as its RDB."""
        entries = [
            Entry(one.path, one.entry, len(rdb)) if one.path == "dump.rdb" else one for one in self.entries
        ]
        return Point({**self.bytes_of, "dump.rdb": rdb}, entries, self.captured)


def allow(redis: Any, *rules: str) -> None:
    """Make the user bk, whose password is pw, and who may do nothing but what the rules say."""
    redis.execute_command("ACL", "SETUSER", "bk", "on", ">pw", "-@all", *rules)


def settings_of(server: RedisServer, **others: Any) -> RedisSettings:
    return RedisSettings(**{"endpoint": server.endpoint, "access": server.access, **others})


def take(settings: RedisSettings, previous: Any = None) -> Point:
    """Capture into memory."""
    bytes_of: dict[str, bytes] = {}
    entries: list[Entry] = []
    with RedisSource(settings).capture(previous) as capture:
        for artifact in capture:
            assert isinstance(artifact, Artifact)
            bytes_of[artifact.path] = b"".join(artifact.stream)
            entries.append(Entry(artifact.path, artifact.entry, len(bytes_of[artifact.path])))
        return Point(bytes_of, entries, capture.result())


def fill(connect: Connect, server: RedisServer, now_ms: int) -> None:
    """Put every type into two databases, in every encoding that a size or a content leads to."""
    for db in (0, 5):
        redis = connect(server, db)
        pipe = redis.pipeline(transaction=False)
        pipe.set("number", -1234567890123)
        pipe.set("bytes", bytes(range(256)))
        pipe.set("repeated", b"abc" * 5000)
        pipe.set("big", random.Random(db).randbytes(1_500_000))
        for index in range(300):
            pipe.set(f"session:{index}", f"user {index}", pxat=now_ms + HOUR_MS + 1000 * index)
        for size in (3, 700):
            _fill_collections(pipe, size)
        _fill_stream(pipe)
        pipe.execute()


def _fill_collections(pipe: Any, size: int) -> None:
    mixed = [f"{'x' * (index % 90)}{index}" if index % 2 else str(index * 100_003) for index in range(size)]
    pipe.rpush(f"list:{size}", *mixed, "y" * 20_000)
    pipe.sadd(f"numbers:{size}", *(index * 70_000 for index in range(size)))
    pipe.sadd(f"words:{size}", *mixed)
    pipe.zadd(f"scores:{size}", {word: index * 0.1 - 5 for index, word in enumerate(mixed)})
    pipe.zadd(f"infinite:{size}", {"top": float("inf"), "bottom": float("-inf"), "whole": 7})
    pipe.hset(f"hash:{size}", mapping={word: word[::-1] for word in mixed})


def _fill_stream(pipe: Any) -> None:
    for index in range(400):
        pipe.xadd("stream", {"text": "z" * index, "number": index}, id=f"{1000 + index}-1")
    pipe.xgroup_create("stream", "workers", "0")
    pipe.xreadgroup("workers", "anna", {"stream": ">"}, count=20)
    pipe.xreadgroup("workers", "bela", {"stream": ">"}, count=5)
    pipe.xack("stream", "workers", "1003-1")
    pipe.xdel("stream", "1010-1")


def contents(connect: Connect, server: RedisServer) -> dict[tuple[int, bytes], Any]:
    """Return everything that a server holds, as the tests' own client reads it."""
    held: dict[tuple[int, bytes], Any] = {}
    for space in connect(server).info("keyspace"):
        redis: Any = connect(server, int(space[2:]))
        for key in redis.keys("*"):
            held[int(space[2:]), key] = READ[redis.type(key)](redis, key), redis.pttl(key) > 0
    return held


def _stream(redis: Any, key: bytes) -> Any:
    groups = [
        (group["name"], group["pending"], group["last-delivered-id"]) for group in redis.xinfo_groups(key)
    ]
    pending = redis.xpending_range(key, "workers", "-", "+", 100)
    return (
        redis.xrange(key),
        groups,
        [(one["message_id"], one["consumer"], one["times_delivered"]) for one in pending],
    )


READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda redis, key: redis.get(key),
    b"list": lambda redis, key: redis.lrange(key, 0, -1),
    b"set": lambda redis, key: redis.smembers(key),
    b"zset": lambda redis, key: redis.zrange(key, 0, -1, withscores=True),
    b"hash": lambda redis, key: redis.hgetall(key),
    b"stream": _stream,
}


def number(server: RedisServer, field: str) -> int:
    with server.connect() as connection:
        return Info.of(connection).number(field)


def tilted(sentinel: RedisServer) -> RedisServer:
    """Have a Sentinel sleep for so long that it does not trust its clock for the next 30 s."""
    pid = number(sentinel, "process_id")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)  # Redis: SENTINEL_TILT_TRIGGER, 2 s
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: number(sentinel, "sentinel_tilt") == 1, "it is in TILT", deadline_s=5)
    return sentinel
