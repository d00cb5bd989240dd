"""The forum's Redis side: a queue of tasks as Celery keeps it, sessions that end, and a ranking."""

import json
from dataclasses import dataclass
from typing import cast

from drtool.demo.servers.redis import RedisServer
from drtool.sources.redis.connection import Connection

QUEUE, RANKING = "celery", "forum:ranking"
SESSION_S = 3_600
TOLERANCE_MS = 1_000  # a key's end is reckoned from a clock that moves between two questions

Held = dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class Value:
    """What a key holds; ends_ms is when it goes, in milliseconds since 1970, None for never."""

    content: object
    ends_ms: int | None


def fill(server: RedisServer, *, tasks: range, sessions: range) -> None:
    """Queue tasks, open sessions, and count both in the ranking."""
    with server.connect() as connection:
        for number in tasks:
            task = {"id": number, "task": "forum.notify", "args": [number]}
            connection.call("LPUSH", QUEUE, json.dumps(task))
        for number in sessions:
            connection.call("SET", f"session:{number}", f"member {number}", "EX", SESSION_S + number)
            connection.call("ZINCRBY", RANKING, number % 7 + 1, f"member {number}")


def read_all(server: RedisServer) -> Held:
    """Return every key with its value and its end."""
    with server.connect() as connection:
        names = cast("list[bytes]", connection.call("KEYS", "*"))
        return {name.decode(): _value(connection, name) for name in names}


def _value(connection: Connection, name: bytes) -> Value:
    match connection.call("TYPE", name):
        case b"list":
            content = connection.call("LRANGE", name, 0, -1)
        case b"zset":
            content = connection.call("ZRANGE", name, 0, -1, "WITHSCORES")
        case _:
            content = connection.call("GET", name)
    return Value(content, _end(connection, name))


def _end(connection: Connection, name: bytes) -> int | None:
    left = cast("int", connection.call("PTTL", name))
    seconds, microseconds = map(int, cast("list[bytes]", connection.call("TIME")))
    return None if left < 0 else seconds * 1_000 + microseconds // 1_000 + left


def differences(expected: Held, found: Held) -> list[str]:
    """Return the keys that are missing, too many, or not what they were."""
    return sorted(
        name
        for name in expected.keys() | found.keys()
        if name not in expected or name not in found or not _same(expected[name], found[name])
    )


def _same(one: Value, other: Value) -> bool:
    if one.content != other.content or (one.ends_ms is None) != (other.ends_ms is None):
        return False
    return abs((one.ends_ms or 0) - (other.ends_ms or 0)) <= TOLERANCE_MS
