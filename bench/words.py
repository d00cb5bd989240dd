"""Prose that compresses as prose does."""

import random
from collections.abc import Iterator
from itertools import accumulate


def sentences(chance: random.Random, count: int) -> list[str]:
    """Return sentences of words that come as often as words do: the n-th of them once in n."""
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 11))) for _ in range(20_000)]
    shares = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
    return [
        " ".join(chance.choices(words, cum_weights=shares, k=chance.randint(6, 24))).capitalize() + ". "
        for _ in range(count)
    ]


def texts(chance: random.Random, count: int, size: int) -> Iterator[str]:
    """Yield count texts of up to size characters."""
    known = sentences(chance, 100_000)
    for _ in range(count):
        yield "".join(chance.choices(known, k=12))[:size]


def prose(chance: random.Random, size: int) -> bytes:
    """Return size bytes of sentences."""
    known = sentences(chance, 100_000)
    text = bytearray()
    while len(text) < size:
        text += "".join(chance.choices(known, k=1000)).encode()
    return bytes(text[:size])
