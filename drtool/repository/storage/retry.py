"""A store around a store that waits out its outages: exponential backoff with full jitter, up to a deadline."""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from datetime import datetime
from typing import TypeVar

from drtool.errors import StoreOutage
from drtool.repository.storage.base import NamesByContent, ObjectStore, ObjectVersion, Rules

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0

UNKNOWN_STORE_S = 15.0  # patience with a store that has not answered once

_T = TypeVar("_T")


class RetryingStore:
    """Repeats what raises StoreOutage until deadline_s has passed since the call; a refusal is raised at once.

    A store that has never answered is more likely a wrong address than an outage: it is waited for much shorter.
    Once ending is set, nothing is waited for: whoever asked drtool to end is not kept waiting for an outage.

    A listing that breaks is read again, and goes on behind the last object that it gave.

    assure is asked before each attempt to change something: it raises once that is not ours to do any more.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        deadline_s: float,
        ending: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._store = store
        self._deadline_s = deadline_s
        self._ending = ending or threading.Event()
        self._sleep = sleep or self._ending.wait
        self._monotonic = monotonic
        self._rng = rng or random.SystemRandom()
        self.assure: Callable[[], object] = lambda: None
        self._has_answered = False

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        self._changed(lambda: self._store.put(name, value, sha256))

    def put_named(self, prefix: str, value: bytes | bytearray | memoryview) -> bytes:
        store = self._store
        if isinstance(store, NamesByContent):
            return self._changed(lambda: store.put_named(prefix, value))
        digest = hashlib.sha256(value).digest()
        self.put(prefix + digest.hex(), value, digest)
        return digest

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        return self._retried(lambda: self._store.get(name, version, start, length))

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._resumed(lambda: self._store.list(prefix))

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._resumed(lambda: self._store.versions(prefix))

    def delete(self, name: str, version: str | None = None) -> None:
        self._changed(lambda: self._store.delete(name, version))

    def rules(self) -> Rules:
        return self._retried(self._store.rules)

    def now(self) -> datetime:
        return self._retried(self._store.now)

    def close(self) -> None:
        self._store.close()

    def _changed(self, call: Callable[[], _T]) -> _T:
        def once() -> _T:
            self.assure()
            return call()

        return self._retried(once)

    def _retried(self, call: Callable[[], _T]) -> _T:
        pauses = self._pauses()
        while True:
            try:
                answer = call()
            except StoreOutage:
                if not next(pauses):
                    raise
            else:
                self._has_answered = True
                return answer

    def _resumed(self, begin: Callable[[], Iterator[ObjectVersion]]) -> Iterator[ObjectVersion]:
        last = ""
        given: set[str | None] = set()  # versions of the name `last`
        pauses = self._pauses()
        while True:
            try:
                for found in begin():
                    if found.name < last or (found.name == last and found.version in given):
                        continue
                    if found.name != last:
                        last, given = found.name, set()
                    given.add(found.version)
                    self._has_answered = True
                    pauses = self._pauses()  # it moves: the patience is whole again
                    yield found
            except StoreOutage:
                if not next(pauses):
                    raise
            else:
                self._has_answered = True
                return

    def _pauses(self) -> Iterator[bool]:
        """Sleep a little longer at each step and yield True; yield False once the deadline has passed."""
        patience = self._deadline_s if self._has_answered else min(self._deadline_s, UNKNOWN_STORE_S)
        end = self._monotonic() + patience
        longest = FIRST_PAUSE_S
        while True:
            rest = end - self._monotonic()
            if rest > 0:
                self._sleep(min(rest, self._rng.uniform(0, longest)))
            longest = min(2 * longest, LONGEST_PAUSE_S)
            yield rest > 0 and not self._ending.is_set()


def fenced(store: ObjectStore, assure: Callable[[], object]) -> ObjectStore:
    """Return store for who may change it only as long as assure returns: it is asked before each attempt."""
    known = copy(store) if isinstance(store, RetryingStore) else RetryingStore(store, deadline_s=0)
    known.assure = assure
    return known
