"""From threads that read to the one that writes: all pieces come over, few are held, and who fails stops the rest."""

import threading
import time
from collections.abc import Iterator

import pytest

from drtool.errors import Corrupt
from drtool.operations.bridge import Bridge, Take

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("size", [0, 1, 1000, MIB - 1, MIB, 3 * MIB])
def test_every_piece_comes_over_once_from_whatever_thread(size: int) -> None:
    count = 2000 if size < MIB - 1 else 6

    def read(take: Take) -> None:
        def push(name: str) -> None:
            for number in range(count):
                take(name, number, bytes(size))

        threads = [threading.Thread(target=push, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = list(Bridge(read))
    assert all(len(piece.data) == size for piece in found)
    assert sorted((piece.path, piece.offset) for piece in found) == [
        (name, number) for name in "abc" for number in range(count)
    ]


def test_what_the_reading_raises_is_raised_where_the_pieces_are_pulled() -> None:
    def read(take: Take) -> None:
        take("a", 0, bytes(3 * MIB))
        take("b", 0, b"gathered, and not handed over")
        raise Corrupt("a pack is damaged")

    pieces = iter(Bridge(read))
    assert next(pieces).path == "a"
    with pytest.raises(Corrupt, match="a pack is damaged"):
        next(pieces)


def test_a_reader_waits_while_nobody_pulls_and_holds_few_bytes() -> None:
    pushed = 0
    is_full = threading.Event()

    def read(take: Take) -> None:
        nonlocal pushed
        for number in range(100):
            if number == 8:
                is_full.set()
            take("a", number, bytes(MIB))
            pushed += 1

    pieces = iter(Bridge(read))
    next(pieces)
    assert is_full.wait(10)
    assert pushed <= 12
    assert len(list(pieces)) == 99


def test_few_pieces_are_held_of_however_few_bytes() -> None:
    pushed = 0

    def read(take: Take) -> None:
        nonlocal pushed
        for number in range(100_000):
            take("a", number, b"x")
            pushed += 1

    pieces = iter(Bridge(read))
    next(pieces)
    seen = -1
    while seen < pushed:  # until whoever pushes waits
        seen = pushed
        time.sleep(0.3)
    assert pushed < 10_000
    assert len(list(pieces)) == 99_999


def test_who_stops_pulling_stops_the_reading() -> None:
    def read(take: Take) -> None:
        for number in range(10_000):
            take("a", number, bytes(MIB))

    pieces = iter(Bridge(read))
    assert next(pieces).offset == 0
    del pieces
