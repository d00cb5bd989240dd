"""Fixed-size chunks: what page-aligned relation files need, and what leaks nothing of the content."""

from collections.abc import Iterable, Iterator


def split(stream: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the bytes of stream in pieces of size; the last may be shorter. Reads the stream once."""
    pending: list[bytes] = []
    held = 0
    for data in stream:
        view = memoryview(data)
        while held + len(view) >= size:
            take = size - held
            pending.append(bytes(view[:take]) if pending or take < len(data) else data)
            yield b"".join(pending) if len(pending) > 1 else bytes(pending[0])
            pending, held, view = [], 0, view[take:]
        if len(view):
            pending.append(bytes(view))
            held += len(view)
    if pending:
        yield b"".join(pending)
