"""RDBs of real servers, whole and broken."""

import tracemalloc
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from drtool.demo.servers.redis import RedisServer, redis_program
from drtool.errors import Corrupt, NotProven
from drtool.sources.redis.rdb.parser import Rdb, read_head
from drtool.sources.redis.rdb.values import Kind, fingerprint
from tests.sources.redis.support import QUICK, Connect, Launch, fill, settings_of, take

NOW_MS = 1_900_000_000_000
LIBRARY = "#!lua name=greet\nredis.register_function('hello', function() return 'hi' end)"


def test_every_key_comes_with_its_database_kind_and_expiry(launch: Launch, client: Connect) -> None:
    server = launch()
    fill(client, server, NOW_MS)
    rdb = take(settings_of(server)).rdb
    records = list(Rdb(rdb[at : at + 1000] for at in range(0, len(rdb), 1000)).records())
    kinds = Counter((one.db, one.kind) for one in records)
    assert kinds[0, Kind.STRING] == kinds[5, Kind.STRING] == 304
    assert {kind: kinds[0, kind] for kind in list(Kind)[1:]} == {
        "list": 2,
        "set": 4,
        "zset": 4,
        "hash": 2,
        "stream": 1,
    }
    assert {one.expires_ms for one in records if one.key == b"session:7"} == {NOW_MS + 3_607_000}
    assert {one.expires_ms for one in records if one.key == b"big"} == {None}


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu"])
def test_hints_for_eviction_are_passed_over(launch: Launch, client: Connect, policy: str) -> None:
    server = launch({"maxmemory": "100mb", "maxmemory-policy": policy})
    client(server).mset({"a": 1, "b": 2})
    assert {one.key for one in Rdb([take(settings_of(server)).rdb]).records()} == {b"a", b"b"}


@pytest.mark.parametrize("version", ["7.0"])
def test_functions_are_read(launch: Launch, client: Connect) -> None:
    server = launch()
    client(server).function_load(LIBRARY)
    rdb = Rdb([take(settings_of(server)).rdb])
    assert list(rdb.records()) == []
    assert rdb.functions == [LIBRARY.encode()]


def test_a_value_is_kept_up_to_the_wanted_size(launch: Launch, client: Connect) -> None:
    server = launch()
    client(server).mset({"short": "abc", "long": "abcd"})
    records = Rdb([take(settings_of(server)).rdb], lambda _: 4).records()
    assert {one.key: one.value for one in records} == {b"short": b"\0\x03abc", b"long": None}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small RDB of each version, with every type."""
    rdbs: dict[str, bytes] = {}
    for version in ("6.2", "7.0"):
        server = RedisServer.create(redis_program(version), Path(tmp_path_factory.mktemp("redis")), QUICK)
        server.start()
        with Redis(port=server.port) as redis:
            redis.set("string", "a" * 100, pxat=NOW_MS)
            redis.rpush("list", *range(20), "b" * 100)
            redis.sadd("set", *range(10))
            redis.sadd("words", "c", "dd")
            redis.zadd("zset", {"e": 1.5, "f": -2})
            redis.hset("hash", mapping={"g": "h", "i": 300})
            redis.xadd("stream", {"j": "k"}, id="5-1")
            redis.xgroup_create("stream", "group", "0")
            redis.xreadgroup("group", "me", {"stream": ">"})
        rdbs[version] = take(settings_of(server)).rdb
        server.kill()
    return rdbs


def read_through(rdb: bytes) -> None:
    for record in Rdb([rdb], lambda _: 100_000).records():
        if record.value:
            fingerprint(record.value)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), version=st.sampled_from(["6.2", "7.0"]))
def test_damaged_bytes_are_corrupt_or_pass_but_never_crash(
    small: dict[str, bytes], data: st.DataObject, version: str
) -> None:
    rdb = bytearray(small[version])
    for _ in range(data.draw(st.integers(1, 4))):
        rdb[data.draw(st.integers(9, len(rdb) - 1))] = data.draw(st.integers(0, 255))
    with suppress(NotProven):
        read_through(bytes(rdb[: data.draw(st.integers(1, len(rdb)))]))


@pytest.mark.parametrize("version", ["6.2", "7.0"])
def test_an_rdb_cut_anywhere_is_corrupt(small: dict[str, bytes], version: str) -> None:
    rdb = small[version]
    read_through(rdb)
    for end in range(len(rdb)):
        with pytest.raises(Corrupt):
            read_through(rdb[:end])


@pytest.mark.parametrize(
    "claims",
    [
        b"\x00\x81\0\0\xff\xff\xff\xff\xff\xff",
        b"\x00\x80\x1f\xff\xff\xff",
        b"\x00\x01k\x80\x7f\xff\xff\xff",
        b"\x00\x01k\xc3\x03\x80\x1f\xff\xff\xffabc",
        b"\x01\x01k\x81\0\0\xff\xff\xff\xff\xff\xff",
        b"\x0f\x01k\x81\0\0\xff\xff\xff\xff\xff\xff",
    ],
    ids=repr,
)
def test_a_claim_of_size_allocates_nothing(claims: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(Corrupt):
        read_through(b"REDIS0011" + claims)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("rdb", "error", "says"),
    [
        (b"REDIS0012\xff", NotProven, "newer"),
        (b"VALKEY080", Corrupt, "begins"),
        (b"REDIS0000\xff", Corrupt, "begins"),
        (b"REDIS0010\xf7\x01", NotProven, "module"),
        (b"REDIS0010\x06\x01k", NotProven, "module"),
        (b"REDIS0010\xf6\x00", Corrupt, "release candidate"),
        (b"REDIS0010\xf4", Corrupt, "type 244"),
    ],
)
def test_what_cannot_be_read_is_told(rdb: bytes, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        read_through(rdb)


def test_seconds_are_told_in_milliseconds() -> None:
    records = Rdb([b"REDIS0009\xfd\x01\0\0\0\x00\x01k\x01v\xff" + b"\0" * 8]).records()
    assert [one.expires_ms for one in records] == [1000]


def test_a_head_is_known_once_all_of_it_is_there(small: dict[str, bytes]) -> None:
    rdb = small["7.0"]
    heads = [read_head(rdb[:end]) for end in range(9, 300)]
    known = [head for head in heads if head]
    assert heads[0] is None
    assert known[0].version == 10
    assert known[0].aux["redis-ver"].startswith("7.0")
    assert known[0].ctime
    with pytest.raises(Corrupt):
        read_head(b"GARBAGE, no RDB")
