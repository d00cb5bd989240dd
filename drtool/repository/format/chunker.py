"""Fixed-size chunks: what page-aligned relation files need, and what leaks nothing of the content."""

from collections.abc import Iterable, Iterator
from typing import TypeGuard


def split(stream: Iterable[bytes | bytearray | memoryview], size: int) -> Iterator[bytes]:
    """Yield the bytes of stream in pieces of size; the last may be shorter. Reads the stream once.

    What can be written to is copied at once: its owner may use the buffer again.
    """
    pending: list[bytes | memoryview] = []
    held = 0
    for data in stream:
        whole = data if isinstance(data, bytes) or _is_constant(data) else bytes(data)
        if len(whole) < size - held:  # not cut, so not copied either where it stays alone
            if whole:
                pending.append(whole)
                held += len(whole)
            continue
        view = memoryview(whole)
        while held + len(view) >= size:
            take = size - held
            yield b"".join((*pending, view[:take]))
            pending, held, view = [], 0, view[take:]
        if len(view):
            pending.append(view)
            held += len(view)
    if pending:
        yield b"".join(pending)


def _is_constant(data: bytearray | memoryview) -> TypeGuard[memoryview]:
    return isinstance(data, memoryview) and data.readonly
