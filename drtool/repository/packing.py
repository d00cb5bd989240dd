"""Packs on their way to the store: gathered, sealed, some opened again, and sent while the next one fills."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Final, NamedTuple

from drtool.errors import Corrupt
from drtool.repository.format.crypto import SALT_SIZE, Recipient, random_bytes
from drtool.repository.format.names import pack_prefix, week
from drtool.repository.format.pack import (
    CONTENT,
    ChunkSeal,
    Head,
    check_id,
    commitment,
    encode_head,
    pack_key,
    private_id_key,
    sealed_size,
    wrap_info,
    wrap_key,
)
from drtool.repository.format.places import PackRef
from drtool.repository.storage.base import ObjectStore, put_named

PACK_SIZE: Final = 32 * 1024 * 1024
_CHECKED: Final = (
    20  # one pack in so many is opened and checked before it is sent; the first and the last always
)


class RunKey:
    """The key of one run: wrapped once for each recipient, gone when the process ends."""

    def __init__(self, repository: bytes, volume: str, recipients: list[Recipient]) -> None:
        self.run = random_bytes(16)
        self.key = random_bytes(32)
        self.repository = repository
        self.volume = volume
        self.commitment = commitment(self.key)
        self.private_id_key = private_id_key(self.key)
        self.wraps = wrap_key(self.key, recipients, wrap_info(repository, volume, self.run))

    def head(self, salt: bytes) -> Head:
        """Return the head of a pack of this run."""
        return Head(self.repository, self.run, salt, self.commitment, self.wraps)


class Packed(NamedTuple):
    """Where a chunk lies in its pack."""

    position: int
    sealed_size: int
    number: int

    @property
    def end(self) -> int:
        """Where the next chunk begins."""
        return self.position + self.sealed_size


class _Row(NamedTuple):
    packed: Packed
    kind: int
    plain_size: int
    id: bytes


class Pack:
    """One pack being filled: frames at their places, sealed in one go by the thread that sends them."""

    def __init__(self, run: RunKey, size: int) -> None:
        """Begin a pack of about size bytes."""
        salt = random_bytes(SALT_SIZE)
        self._run = run
        self._seal = ChunkSeal(pack_key(run.key, salt), salt, run.repository, run.volume)
        self._head = encode_head(run.head(salt))
        self._size = size
        self._end = len(self._head)
        self._rows: list[_Row] = []
        self._frames: deque[bytes] = deque()
        self.sent: Future[PackRef] = Future()

    def has_room(self, frame: bytes) -> bool:
        """Return whether frame fits. An empty pack takes any frame."""
        return not self._rows or self._end + sealed_size(frame) <= self._size

    def add(self, frame: bytes, kind: int, plain_size: int, chunk_id: bytes) -> Packed:
        """Give frame (the zstd of plain_size bytes) its place in the pack."""
        packed = Packed(self._end, sealed_size(frame), len(self._rows))
        self._end = packed.end
        self._rows.append(_Row(packed, kind, plain_size, chunk_id))
        self._frames.append(frame)
        return packed

    def seal(self, buffer: bytearray) -> memoryview:
        """Seal head and frames into buffer, which grows if it must; return the object's bytes. Frees the frames."""
        if self._end > len(buffer):
            buffer.extend(bytes(self._end - len(buffer)))
        value = memoryview(buffer)[: self._end]
        value[: len(self._head)] = self._head
        for row in self._rows:
            packed = row.packed
            target = value[packed.position : packed.end]
            self._seal.seal_into(packed.number, row.kind, row.plain_size, self._frames.popleft(), target)
        return value

    def check(self, value: memoryview, id_key: bytes) -> None:
        """Open every chunk of the sealed value again. Raises Corrupt: better here than when it is the only copy."""
        for row in self._rows:
            packed = row.packed
            sealed = value[packed.position : packed.end]
            plain = self._seal.unseal(packed.number, row.kind, row.plain_size, sealed)
            check_id(id_key if row.kind == CONTENT else self._run.private_id_key, plain, row.id)


class PackSender:
    """Sends full packs in the background; at most `in_flight` are held beside the one that is being filled."""

    def __init__(
        self,
        store: ObjectStore,
        run: RunKey,
        id_key: bytes,
        clock: Callable[[], datetime],
        in_flight: int = 2,
    ) -> None:
        self._store = store
        self._run = run
        self._id_key = id_key
        self._clock = clock
        self._room = threading.Semaphore(in_flight)
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="drtool-send")
        self._count = 0
        self._counting = threading.Lock()
        self._pending: list[Pack] = []
        self._buffers: list[bytearray] = []  # of packs that are sent
        self.bytes_sent = 0

    def begin(self, size: int) -> Pack:
        """Return an empty pack of size bytes."""
        return Pack(self._run, size)

    def send(self, pack: Pack, *, last: bool = False) -> None:
        """Take pack; its `sent` is resolved once it is durable. Waits while too many are under way."""
        self._room.acquire()
        self._pending = [other for other in self._pending if not self._settled(other)]
        checked = last or self._count % _CHECKED == 0
        self._count += 1
        self._pending.append(pack)
        self._pool.submit(self._send, pack, checked)

    def _settled(self, pack: Pack) -> bool:
        if pack.sent.done():
            pack.sent.result()
            return True
        return False

    def _send(self, pack: Pack, checked: bool) -> None:  # noqa: FBT001 - a thread pool passes no keywords here
        try:
            buffer = self._buffers.pop() if self._buffers else bytearray(PACK_SIZE)
            value = pack.seal(buffer)
            if checked:
                pack.check(value, self._id_key)
            moment = self._clock()
            digest = put_named(self._store, pack_prefix(self._run.volume, moment), value)
            with self._counting:
                self.bytes_sent += len(value)
            value.release()
            self._buffers.append(buffer)
            pack.sent.set_result(PackRef(f"{week(moment)}/{digest.hex()}", self._run.run))
        except Corrupt as fault:
            pack.sent.set_exception(
                Corrupt(
                    f"a pack did not open again before it was sent: {fault}",
                    hint="Check this machine's memory.",
                )
            )
        except Exception as fault:  # noqa: BLE001 - carried to the thread that waits for the pack
            pack.sent.set_exception(fault)
        finally:
            self._room.release()

    def wait(self) -> None:
        """Return when every pack taken so far is durable. Raises what a sending raised."""
        for pack in self._pending:
            pack.sent.result()
        self._pending = []

    def close(self, *, at_once: bool = False) -> None:
        """End the threads; what has not begun is not sent. at_once does not wait for what is on its way."""
        self._pool.shutdown(wait=not at_once, cancel_futures=True)
