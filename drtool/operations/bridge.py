"""From the reader's threads, which push pieces, to a source that pulls them; at most a few are held between."""

import queue
import threading
from collections.abc import Callable, Iterator

from drtool.errors import DrtoolError
from drtool.sources.base import Piece

_AHEAD = 16  # pieces of a MiB that are read before they are written
_LOOK_S = 0.2

Take = Callable[[str, int, bytes], None]


class Bridge:
    """Iterate to pull what `read` pushes. Who stops pulling stops the reading, too."""

    def __init__(self, read: Callable[[Take], None]) -> None:
        """read is called in a thread of its own, with what takes (path, offset, bytes) from any thread."""
        self._read = read
        self._ahead: queue.Queue[Piece | BaseException | None] = queue.Queue(_AHEAD)
        self._gone = threading.Event()

    def __iter__(self) -> Iterator[Piece]:
        """Yield the pieces. Raises what read raises."""
        threading.Thread(target=self._run, name="drtool-bridge", daemon=True).start()
        try:
            while (piece := self._ahead.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self._gone.set()

    def _run(self) -> None:
        try:
            self._read(lambda path, offset, data: self._push(Piece(path, offset, data)))
        except BaseException as fault:  # noqa: BLE001 - carried over to the thread that pulls
            self._offer(fault)
        else:
            self._offer(None)

    def _push(self, piece: Piece) -> None:
        if not self._offer(piece):
            raise DrtoolError("nobody takes what is read any more")

    def _offer(self, piece: Piece | BaseException | None) -> bool:
        """Wait for room; return whether somebody still pulls."""
        while not self._gone.is_set():
            try:
                self._ahead.put(piece, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False
