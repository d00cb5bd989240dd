"""The queues of a broker, as kombu keeps them for Celery: counted, put aside, given back, deleted.

A queue is a list: producers push on its left, workers take from its right. One of a priority is a list of its own,
whose name ends in a separator and the priority. What a worker took and has not acknowledged stands in the hash
`unacked`, with its time in `unacked_index`: kombu puts it back after the visibility timeout. Which lists are queues
is told by the sets `_kombu.binding.EXCHANGE`, whose members end with the name of a queue. All names may begin with
what Celery calls global_keyprefix.

Each key is moved by one script, so a kill at any moment leaves every message in one of two places, and whoever does it
again ends it. Held messages are the older ones: given back, they are taken before what has come since, in their order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from drtool.sources.redis.capture import RedisSettings
from drtool.sources.redis.connection import Connection, Endpoint
from drtool.sources.redis.info import Info
from drtool.sources.redis.nodes import master_endpoint

Doing = Literal["list", "hold", "release", "purge", "discard"]

HELD: Final = b"drtool:held:"  # before the name that a key had; no worker reads it
_SEPARATOR: Final = b"\x06\x16"  # kombu: transport/redis.py, sep
_BINDING: Final = b"_kombu.binding."
_DEFAULT: Final = b"celery"  # Celery's queue where nothing is configured
_UNACKED: Final = (b"unacked", b"unacked_index")
_PAGE: Final = 1000

# KEYS: what is older, what is newer. ARGV 1: the name of the two together. All types that kombu keeps messages in.
_MERGE: Final = """
local older, newer, into = KEYS[1], KEYS[2], ARGV[1]
local kind = redis.call('TYPE', older)['ok']
if kind == 'none' then
  if redis.call('EXISTS', newer) == 1 and newer ~= into then redis.call('RENAME', newer, into) end
  return 1
end
if redis.call('EXISTS', newer) == 0 then
  if older ~= into then redis.call('RENAME', older, into) end
  return 1
end
if kind == 'list' then
  for first = 0, redis.call('LLEN', older) - 1, 1000 do
    redis.call('RPUSH', newer, unpack(redis.call('LRANGE', older, first, first + 999)))
  end
elseif kind == 'hash' then
  local all = redis.call('HGETALL', older)
  for at = 1, #all, 2 do redis.call('HSET', newer, all[at], all[at + 1]) end
elseif kind == 'zset' then
  local all = redis.call('ZRANGE', older, 0, -1, 'WITHSCORES')
  for at = 1, #all, 2 do redis.call('ZADD', newer, all[at + 1], all[at]) end
else
  return redis.error_reply('ERR a queue of another type')
end
redis.call('DEL', older)
if newer ~= into then redis.call('RENAME', newer, into) end
return 1
"""
_COUNT: Final = {b"list": "LLEN", b"hash": "HLEN", b"zset": "ZCARD"}


@dataclass(frozen=True, slots=True)
class Queue:
    """The messages of one queue. is_held: they are put aside. unacked holds those that workers had taken."""

    database: int
    name: str
    messages: int
    is_held: bool
    key: bytes = field(repr=False, default=b"")


def treat(settings: RedisSettings, doing: Doing) -> list[Queue]:
    """Do it to the queues of a Redis, and return them as they were before: sorted, those that have messages.

    hold and purge are done to what workers read, release and discard to what is held; list shows both. Safe to repeat,
    and to kill. Raises what the connection raises.
    """
    with _master(settings) as redis:
        found = [queue for database in _databases(redis) for queue in _queues(redis, database)]
        if doing != "list":
            found = [queue for queue in found if queue.is_held == (doing in ("release", "discard"))]
        for queue in found:
            redis.call("SELECT", queue.database)
            _do(redis, queue.key, doing)
    return [queue for queue in found if not queue.name.endswith("unacked_index")]


def _do(redis: Connection, key: bytes, doing: Doing) -> None:
    match doing:
        case "hold":
            redis.call("EVAL", _MERGE, 2, HELD + key, key, HELD + key)
        case "release":
            plain = key.removeprefix(HELD)
            redis.call("EVAL", _MERGE, 2, key, plain, plain)
        case "purge" | "discard":
            redis.call("DEL", key)


def _master(settings: RedisSettings) -> Connection:
    """Return a connection to the server that takes writes."""
    if settings.sentinel is not None:
        return Connection(master_endpoint(settings.sentinel), settings.access)
    assert settings.endpoint is not None  # noqa: S101 - a policy has one of the two
    connection = Connection(settings.endpoint, settings.access)
    try:
        info = Info.of(connection)
    except BaseException:
        connection.close()
        raise
    if not info.is_replica:
        return connection
    connection.close()
    return Connection(Endpoint(info.text("master_host"), info.number("master_port")), settings.access)


def _databases(redis: Connection) -> list[int]:
    told = redis.call("INFO", "keyspace")
    lines = told.decode().splitlines() if isinstance(told, bytes) else []
    return sorted(int(line[2:].partition(":")[0]) for line in lines if line.startswith("db"))


def _queues(redis: Connection, database: int) -> Iterator[Queue]:
    """Yield the queues of a database, those of workers and those that are held; sorted by key."""
    redis.call("SELECT", database)
    bindings = _scan(redis, b"*" + _BINDING + b"*")
    names = {b"": {_DEFAULT}}
    for binding in bindings:
        prefix = binding.partition(_BINDING)[0]
        members = redis.call("SMEMBERS", binding)
        queues = {
            member.rpartition(_SEPARATOR)[2]
            for member in (members if isinstance(members, list) else [])
            if isinstance(member, bytes)
        }
        names.setdefault(prefix, {_DEFAULT}).update(queues)
    mine = {prefix + name for prefix, queues in names.items() for name in {*queues, *_UNACKED}}
    mine |= {key for key in _scan(redis, b"*" + _SEPARATOR + b"*") if key.partition(_SEPARATOR)[0] in mine}
    for key in sorted(mine) + sorted(_scan(redis, HELD + b"*")):
        kind = redis.call("TYPE", key)
        command = _COUNT.get(kind) if isinstance(kind, bytes) else None
        if command is not None:
            count = redis.call(command, key)
            messages = count if isinstance(count, int) else 0
            yield Queue(database, _words(key), messages, key.startswith(HELD), key)


def _words(key: bytes) -> str:
    """Return a key as people read it: celery, priority 3."""
    name, separator, priority = key.removeprefix(HELD).partition(_SEPARATOR)
    return (name + (b", priority " if separator else b"") + priority).decode(errors="replace")


def _scan(redis: Connection, pattern: bytes) -> set[bytes]:
    """Return the keys that match, wherever they are in the database."""
    found: set[bytes] = set()
    cursor: bytes = b"0"
    while True:
        reply = redis.call("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
        if not isinstance(reply, list) or not isinstance(reply[0], bytes) or not isinstance(reply[1], list):
            return found
        cursor = reply[0]
        found.update(key for key in reply[1] if isinstance(key, bytes))
        if cursor == b"0":
            return found
