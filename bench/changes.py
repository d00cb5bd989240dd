"""What changed in a cluster's relation files between two moments, found without drtool: in chunks of 128 KiB."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 128 * 1024
RELATIONS = ("base", "global")

Digests = Mapping[tuple[str, int], bytes]  # by path and offset


@dataclass(frozen=True, slots=True)
class Changed:
    """Chunks that differ, their plain bytes, and what zstd 1 makes of them."""

    chunks: int
    plain: int
    compressed: int


def read_digests(data: Path) -> Digests:
    """Return a digest of every chunk of the relation files of a data directory."""
    return {
        (path, number * CHUNK): blake3(chunk).digest(16)
        for path in _files(data)
        for number, chunk in enumerate(_chunks(data / path))
    }


def compare(data: Path, before: Digests) -> Changed:
    """Return what differs in data now from what it was before. Chunks that are gone do not count."""
    chunks = plain = compressed = 0
    for path in _files(data):
        for number, chunk in enumerate(_chunks(data / path)):
            if before.get((path, number * CHUNK)) != blake3(chunk).digest(16):
                chunks, plain = chunks + 1, plain + len(chunk)
                compressed += len(zstd.compress(chunk, level=1))
    return Changed(chunks, plain, compressed)


def _files(data: Path) -> list[str]:
    return [
        os.path.relpath(Path(root) / name, data)
        for relations in RELATIONS
        for root, _, names in os.walk(data / relations)
        for name in names
        if name != "pg_internal.init"  # a base backup leaves it out
    ]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(CHUNK), b"")
