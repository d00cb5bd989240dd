from pathlib import Path

import pytest

from drtool.demo import broker
from drtool.demo.broker import Value
from drtool.demo.servers.redis import RedisServer, redis_program

BEFORE = {"queue": Value([b"1", b"2"], None), "session": Value(b"ann", 1_000_000)}


@pytest.mark.parametrize(
    ("after", "different"),
    [
        (BEFORE, []),
        ({**BEFORE, "session": Value(b"ann", 1_000_000 + broker.TOLERANCE_MS)}, []),
        ({**BEFORE, "session": Value(b"ann", 1_000_001 + broker.TOLERANCE_MS)}, ["session"]),
        ({**BEFORE, "session": Value(b"ann", None)}, ["session"]),
        ({**BEFORE, "queue": Value([b"2", b"1"], None)}, ["queue"]),
        ({"queue": BEFORE["queue"]}, ["session"]),
        ({**BEFORE, "more": Value(b"", None)}, ["more"]),
    ],
)
def test_keys_are_compared_by_value_and_end(after: broker.Held, different: list[str]) -> None:
    assert broker.differences(BEFORE, after) == different


def test_what_was_filled_in_is_read_back_with_its_ends(tmp_path: Path) -> None:
    server = RedisServer.create(redis_program("6.2"), tmp_path, password="secret")
    server.start()
    try:
        broker.fill(server, tasks=range(3), sessions=range(2))
        held = broker.read_all(server)
        broker.fill(server, tasks=range(3, 4), sessions=range(0))
        later = broker.read_all(server)
    finally:
        server.stop()

    assert {name for name, value in held.items() if value.ends_ms} == {"session:0", "session:1"}
    assert broker.differences(held, later) == [broker.QUEUE]
