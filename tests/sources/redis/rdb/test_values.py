"""Values as real servers serialize them, in every encoding, compared by their fingerprints."""

from typing import Any

import pytest

from drtool.errors import Corrupt, NotProven
from drtool.sources.redis.connection import Connection
from drtool.sources.redis.rdb.lzf import decompress
from drtool.sources.redis.rdb.packed import intset, listpack, ziplist
from drtool.sources.redis.rdb.parser import Rdb
from drtool.sources.redis.rdb.reader import Reader
from drtool.sources.redis.rdb.values import fingerprint, fingerprint_of_dump
from tests.sources.redis.support import Connect, Launch, fill, settings_of, take

NOW_MS = 1_900_000_000_000
UNPACKED = {
    "rdbcompression": "no",
    "list-max-ziplist-size": "1",
    "hash-max-ziplist-entries": "0",
    "zset-max-ziplist-entries": "0",
    "set-max-intset-entries": "0",
    "stream-node-max-entries": "100",
    "hash-max-ziplist-value": "1",
}


def fingerprints(rdb: bytes) -> dict[tuple[int, bytes], str]:
    records = Rdb([rdb], lambda _: 10_000_000).records()
    return {(one.db, one.key): fingerprint(one.value) for one in records if one.value is not None}


def test_an_rdb_and_the_servers_own_dump_agree_on_every_key(launch: Launch, client: Connect) -> None:
    server = launch()
    fill(client, server, NOW_MS)
    found = fingerprints(take(settings_of(server)).rdb)
    with server.connect() as connection:
        for db in (0, 5):
            connection.call("SELECT", db)
            keys: Any = connection.call("KEYS", "*")
            assert {key for its, key in found if its == db} == set(keys)
            for key in keys:
                payload: Any = connection.call("DUMP", key)
                assert fingerprint_of_dump(payload) == found[db, key], key


@pytest.mark.parametrize("version", ["6.2 and 7.0"])
def test_versions_and_encodings_do_not_change_a_fingerprint(launch: Launch, client: Connect) -> None:
    found = []
    for version in ("6.2", "7.0"):
        for settings in ({}, UNPACKED):
            server = launch(settings, version=version)
            fill(client, server, NOW_MS)
            client(server).delete("stream")  # its deliveries have times of their own
            client(server, 5).delete("stream")
            found.append(fingerprints(take(settings_of(server)).rdb))
    assert len(found[0]) > 600
    for other in found[1:]:
        assert other == found[0]


@pytest.mark.parametrize("size", [3, 700])
def test_any_change_of_a_value_changes_its_fingerprint(launch: Launch, client: Connect, size: int) -> None:
    server = launch()
    fill(client, server, NOW_MS)
    changes = [
        ("bytes", ("SETRANGE", "bytes", 255, "x")),
        ("number", ("INCR", "number")),
        ("repeated", ("SETRANGE", "repeated", 14_999, "b")),
        (f"list:{size}", ("LSET", f"list:{size}", 1, "other")),
        (f"numbers:{size}", ("SREM", f"numbers:{size}", 70_000)),
        (f"words:{size}", ("SADD", f"words:{size}", "one more")),
        (f"scores:{size}", ("ZINCRBY", f"scores:{size}", "0.0000001", "0")),
        (f"hash:{size}", ("HSET", f"hash:{size}", "0", "1")),
        ("stream", ("XACK", "stream", "workers", "1005-1")),
        ("stream", ("XADD", "stream", "*", "a", "b")),
        ("stream", ("XDEL", "stream", "1050-1")),
    ]
    with server.connect() as connection:
        for key, change in changes:
            before = _dump(connection, key)
            connection.call(*change)
            assert _dump(connection, key) != before, change


def _dump(connection: Connection, key: str) -> str:
    payload: Any = connection.call("DUMP", key)
    return fingerprint_of_dump(payload)


def test_the_order_of_a_list_counts() -> None:
    assert fingerprint(b"\x01\x02\x01a\x01b") != fingerprint(b"\x01\x02\x01b\x01a")
    assert fingerprint(b"\x02\x02\x01a\x01b") == fingerprint(b"\x02\x02\x01b\x01a")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x63",
        b"\x00\x05abc",
        b"\x00\x03abcd",
        b"\x00\xc4",
        b"\x00\x82",
        b"\x00\x81" + b"\xff" * 8,
        b"\x00\xc3\x02\x81" + b"\x00\x00\x00\x00\xff\xff\xff\xff" + b"ab",
        b"\x00\xc3\x03\x05\x20\x05\x00",
        b"\x00\xc3\x01\x05\x20",
        b"\x00\xc3\x02\x01\x05a",
        b"\x01\xc0\x05",
        b"\x03\x01\x01a\x02xx",
        b"\x0b\x08\x03\0\0\0\0\0\0\0",
        b"\x0b\x0a\x02\0\0\0\x02\0\0\0\x01\0",
        b"\x0d\x0c" + b"\0" * 10 + b"\0\x90",
        b"\x10\x08" + b"\0" * 6 + b"\xf5\x01",
        b"\x10\x08" + b"\0" * 6 + b"\xff\x01",
        b"\x11\x0d" + b"\0" * 6 + b"\x81a\x02\x81b\x02\xff",
    ],
    ids=repr,
)
def test_a_broken_value_is_corrupt(value: bytes) -> None:
    with pytest.raises(Corrupt, match="at byte"):
        fingerprint(value)


def test_a_value_of_a_module_is_not_proven() -> None:
    with pytest.raises(NotProven, match="module"):
        fingerprint(b"\x07\x81\0\0\0\0\0\0\0\0")


@pytest.mark.parametrize(
    ("unpack", "packed", "elements"),
    [
        (
            ziplist,
            b"\0" * 10 + b"\x00\xf1\x02\xfd\x02\xfe\x80\x02\xc0\x00\x80\xff",
            [b"0", b"12", b"-128", b"-32768"],
        ),
        (
            ziplist,
            b"\0" * 10 + b"\xfe\0\0\0\0\xf0\xff\xff\x7f\x05\xd0\0\0\0\x80\x05\xe0" + b"\xff" * 8 + b"\xff",
            [b"8388607", b"-2147483648", b"-1"],
        ),
        (ziplist, b"\0" * 10 + b"\x00\x40\x03abc\x02\x80\0\0\0\x02de\xff", [b"abc", b"de"]),
        (
            listpack,
            b"\0" * 6 + b"\x7f\x01\xdf\xff\x02\xf1\0\x80\x03\xf2\0\0\x80\x04\xff",
            [b"127", b"-1", b"-32768", b"-8388608"],
        ),
        (
            listpack,
            b"\0" * 6 + b"\xf3\0\0\0\x80\x05\xf4" + b"\xff" * 8 + b"\x09\xff",
            [b"-2147483648", b"-1"],
        ),
        (listpack, b"\0" * 6 + b"\xe0\x02ab\x04\xf0\x01\0\0\0c\x06\xff", [b"ab", b"c"]),
        (intset, b"\x08\0\0\0\x01\0\0\0" + b"\xff" * 8, [b"-1"]),
    ],
)
def test_packed_elements_are_read_in_every_width(unpack: Any, packed: bytes, elements: list[bytes]) -> None:
    assert list(unpack(packed)) == elements


@pytest.mark.parametrize("size", [127, 128, 16_382, 16_383, 2_097_151])
def test_a_listpack_is_walked_across_every_size_of_element(size: int) -> None:
    body = size - 5
    width = 1 if size <= 127 else 2 if size < 16_383 else 3 if size < 2_097_151 else 4
    element = b"\xf0" + body.to_bytes(4, "little") + b"x" * body
    assert [len(one) for one in listpack(b"\0" * 6 + element + b"\0" * width + b"\x01\x01\xff")] == [body, 1]


def test_lzf_copies_that_overlap_themselves_are_repeated() -> None:
    assert decompress(b"\x00a\xe0\x00\x00", 10, Reader([]).corrupt) == b"a" * 10
