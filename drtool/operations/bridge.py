"""From the reader's threads, which push pieces, to a source that pulls them; at most a few are held between."""

import queue
import threading
from collections.abc import Callable, Iterator

from drtool.errors import DrtoolError
from drtool.sources.base import Piece

_AHEAD = 8  # batches that are read before they are written
_BATCH = (
    256 * 1024
)  # bytes that are gathered before they are handed over: to wake a thread costs more than a file
_PIECE = 512  # bytes, about, that a piece takes beside its data
_LOOK_S = 0.2

Take = Callable[[str, int, bytes], None]


class Bridge:
    """Iterate to pull what `read` pushes. Who stops pulling stops the reading, too."""

    def __init__(self, read: Callable[[Take], None]) -> None:
        """read is called in a thread of its own, with what takes (path, offset, bytes) from any thread."""
        self._read = read
        self._ahead: queue.Queue[list[Piece] | BaseException | None] = queue.Queue(_AHEAD)
        self._gone = threading.Event()
        self._lock = threading.Lock()
        self._gathered: list[Piece] = []
        self._size = 0

    def __iter__(self) -> Iterator[Piece]:
        """Yield the pieces. Raises what read raises."""
        threading.Thread(target=self._run, name="drtool-bridge", daemon=True).start()
        try:
            while (pieces := self._ahead.get()) is not None:
                if isinstance(pieces, BaseException):
                    raise pieces
                yield from pieces
        finally:
            self._gone.set()

    def _run(self) -> None:
        try:
            self._read(self._take)
            self._push(self._gathered)
        except BaseException as fault:  # noqa: BLE001 - carried over to the thread that pulls
            self._offer(fault)
        else:
            self._offer(None)

    def _take(self, path: str, offset: int, data: bytes) -> None:
        with self._lock:
            self._gathered.append(Piece(path, offset, data))
            self._size += len(data) + _PIECE
            if self._size < _BATCH:
                return
            pieces, self._gathered, self._size = self._gathered, [], 0
        self._push(pieces)

    def _push(self, pieces: list[Piece]) -> None:
        if not self._offer(pieces):
            raise DrtoolError("nobody takes what is read any more")

    def _offer(self, given: list[Piece] | BaseException | None) -> bool:
        """Wait for room; return whether somebody still pulls."""
        while not self._gone.is_set():
            try:
                self._ahead.put(given, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False
