"""Compares what a running server holds with what an RDB says. Each comparison is one Proof.

Proofs are kept as evidence, so a key that differs is named by a digest, not by itself.
"""

from collections.abc import Iterator
from hashlib import sha256

from drtool.sources.base import Proof
from drtool.sources.redis.connection import Connection, Reply
from drtool.sources.redis.info import Info
from drtool.sources.redis.rdb.census import Census
from drtool.sources.redis.rdb.parser import Record
from drtool.sources.redis.rdb.values import Kind, fingerprint, fingerprint_of_dump

SCAN_COUNT = 5000
NO_SUCH_KEY, NO_EXPIRY = -2, -1  # what PEXPIRETIME and PTTL say instead of a time


def clock_ms(connection: Connection) -> int:
    """Return the server's clock, milliseconds since 1970."""
    seconds, micros = (int(part) for part in _words(connection.call("TIME")))
    return seconds * 1000 + micros // 1000


def all_keys(connection: Connection, census: Census) -> Proof:
    """Every key, expired or not, is in its database."""
    expected = {str(db): count for db, count in census.keys().items()}
    actual = Info.of(connection).keys()
    return Proof("keys in each database", actual == expected, _counts(expected), _counts(actual))


def kinds(connection: Connection, census: Census) -> Proof:
    """The keys whose time has not passed have the types that they had."""
    expected: list[str] = []
    actual: list[str] = []
    ok = True
    for db in census.databases():
        connection.call("SELECT", db)
        for kind in Kind:
            since = clock_ms(connection)
            count = _scan_count(connection, kind)
            least, most = census.alive((db, kind), since, clock_ms(connection))
            ok = ok and least <= count <= most
            if most or count:
                expected.append(f"db{db} {kind} {_span(least, most)}")
                actual.append(f"db{db} {kind} {count}")
    return Proof("keys of each type", ok, ", ".join(expected), ", ".join(actual))


def alive_keys(connection: Connection, census: Census, when: str) -> Proof:
    """A server that has no master holds the keys whose time has not passed, and no others."""
    actual, spans = _held_and_alive(connection, census)
    ok = all(least <= actual.get(db, 0) <= most for db, (least, most) in spans.items())
    expected = ", ".join(f"db{db} {_span(*span)}" for db, span in spans.items() if span[1]) or "none"
    return Proof(f"keys {when}", ok and actual.keys() <= spans.keys(), expected, _counts(actual))


def has_surplus(connection: Connection, census: Census) -> bool:
    """Tell whether the server still holds more keys than can be alive."""
    actual, spans = _held_and_alive(connection, census)
    return any(actual.get(db, 0) > most for db, (_, most) in spans.items())


def _held_and_alive(
    connection: Connection, census: Census
) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """Return the count of keys of each database, and between which counts it must be."""
    since = clock_ms(connection)
    actual = Info.of(connection).keys()
    until = clock_ms(connection)
    spans: dict[str, tuple[int, int]] = {}
    for db in census.databases():
        each = [census.alive((db, kind), since, until) for kind in Kind]
        spans[str(db)] = sum(least for least, _ in each), sum(most for _, most in each)
    return actual, spans


def expiries(connection: Connection, census: Census, *, exact: bool) -> Proof:
    """Sampled keys expire when they should, to the millisecond; exact servers tell the moment itself."""
    sampled = [record for record in census.sample() if record.expires_ms is not None]
    wrong: list[Record] = []
    count = 0
    for record in _alive(connection, sampled):
        earliest, latest = _expiry(connection, record.key, exact=exact)
        count += 1
        if not earliest <= (record.expires_ms or 0) <= latest:
            wrong.append(record)
    return _sampled("times to live", count, wrong)


def values(connection: Connection, census: Census, seed: str) -> Proof:
    """Sampled keys hold what they held, element by element."""
    wrong: list[Record] = []
    count = 0
    for record in _alive(connection, census.sample()):
        payload = connection.call("DUMP", record.key)
        count += 1
        if not isinstance(payload, bytes) or fingerprint_of_dump(payload) != fingerprint(record.value or b""):
            wrong.append(record)
    return _sampled(f"values of the sample {seed}", count, wrong)


def functions(connection: Connection, expected: list[bytes]) -> Proof:
    """The function libraries are there, letter by letter."""
    reply = connection.call("FUNCTION", "LIST", "WITHCODE")
    libraries = (
        [_words(library) for library in reply if isinstance(library, list)] if isinstance(reply, list) else []
    )
    found = [words[words.index(b"library_code") + 1] for words in libraries]
    ok = sorted(found) == sorted(expected)
    return Proof("functions", ok, _libraries(expected), _libraries(found))


def _alive(connection: Connection, records: list[Record]) -> Iterator[Record]:
    """Yield the records whose time has not passed while they were looked at, each in its database."""
    selected = -1
    for record in records:
        if record.db != selected:
            connection.call("SELECT", record.db)
            selected = record.db
        if record.expires_ms is None or clock_ms(connection) + 1000 < record.expires_ms:
            yield record


def _expiry(connection: Connection, key: bytes, *, exact: bool) -> tuple[int, int]:
    """Return between which two moments a key expires, milliseconds since 1970."""
    if exact:
        moment = connection.call("PEXPIRETIME", key)
        return (moment, moment) if isinstance(moment, int) else (NO_SUCH_KEY, NO_SUCH_KEY)
    before = clock_ms(connection)
    left = connection.call("PTTL", key)
    if not isinstance(left, int) or left < 0:
        return NO_SUCH_KEY, NO_SUCH_KEY
    return before + left - 1, clock_ms(connection) + left + 1


def _scan_count(connection: Connection, kind: Kind) -> int:
    cursor, count = b"0", 0
    while True:
        reply = connection.call("SCAN", cursor, "COUNT", SCAN_COUNT, "TYPE", kind)
        assert isinstance(reply, list)  # noqa: S101 - SCAN gives a cursor and keys
        assert isinstance(reply[0], bytes)  # noqa: S101
        assert isinstance(reply[1], list)  # noqa: S101
        count += len(reply[1])
        cursor = reply[0]
        if cursor == b"0":
            return count


def _sampled(name: str, count: int, wrong: list[Record]) -> Proof:
    first = (
        f"; first db{wrong[0].db} {wrong[0].kind}, SHA-256 {sha256(wrong[0].key).hexdigest()[:16]}"
        if wrong
        else ""
    )
    return Proof(
        name, not wrong, f"{count} of {count} equal", f"{count - len(wrong)} of {count} equal{first}"
    )


def _libraries(codes: list[bytes]) -> str:
    if not codes:
        return "none"
    return f"{len(codes)}, SHA-256 {sha256(b''.join(sorted(codes))).hexdigest()[:16]}"


def _counts(counts: dict[str, int]) -> str:
    return (
        ", ".join(f"db{db} {count}" for db, count in sorted(counts.items(), key=lambda item: int(item[0])))
        or "none"
    )


def _span(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def _words(reply: Reply) -> list[bytes]:
    return [word if isinstance(word, bytes) else b"" for word in reply] if isinstance(reply, list) else []
