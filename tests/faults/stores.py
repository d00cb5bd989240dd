"""Stores around stores that fail on purpose: crash at the n-th call, or give back flipped bytes."""

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from threading import Lock
from typing import NoReturn, TypeVar

from drtool.repository.storage.base import ObjectStore, ObjectVersion, Rules

_Answer = TypeVar("_Answer")


class Crash(BaseException):
    """The process is dead from here on. A BaseException, so that no handler of errors goes on after it."""


def crash() -> NoReturn:
    raise Crash


def kill_this_process() -> NoReturn:
    """Die as by kill -9: no handler, no `finally`, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise Crash


class CrashingStore:
    """Dies at its at-th call, counted from 1 over all methods, and at every later one.

    done: the fatal call still reaches the store, and only its answer is lost. With at=None it only counts `calls`,
    which tells a sweep how far to go.
    """

    def __init__(
        self,
        store: ObjectStore,
        at: int | None = None,
        *,
        done: bool = False,
        die: Callable[[], NoReturn] = crash,
    ) -> None:
        self._store = store
        self._at = at
        self._done = done
        self._die = die
        self._lock = Lock()
        self.calls = 0

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        self._call(lambda: self._store.put(name, value, sha256))

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        return self._call(lambda: self._store.get(name, version, start, length))

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._call(lambda: self._store.list(prefix))

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._call(lambda: self._store.versions(prefix))

    def delete(self, name: str, version: str | None = None) -> None:
        self._call(lambda: self._store.delete(name, version))

    def rules(self) -> Rules:
        return self._call(self._store.rules)

    def now(self) -> datetime:
        return self._call(self._store.now)

    def close(self) -> None:
        self._store.close()

    def _call(self, call: Callable[[], _Answer]) -> _Answer:
        with self._lock:
            self.calls += 1
            number = self.calls
        if self._at is not None and number >= self._at:
            if number == self._at and self._done:
                call()
            self._die()
        return call()


class FlippingStore:
    """Gives back one object with one bit of its byte at position flipped, as a rotten disk would."""

    def __init__(self, store: ObjectStore, name: str, position: int) -> None:
        self._store = store
        self._name = name
        self._position = position
        self.put = store.put
        self.list = store.list
        self.versions = store.versions
        self.delete = store.delete
        self.rules = store.rules
        self.now = store.now
        self.close = store.close

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        value = self._store.get(name, version, start, length)
        if name != self._name or not start <= self._position < start + len(value):
            return value
        return flipped(value, self._position - start)


def flipped(value: bytes, position: int) -> bytes:
    """Return value with the lowest bit of its byte at position flipped."""
    changed = bytearray(value)
    changed[position] ^= 1
    return bytes(changed)


def damage(store: ObjectStore, name: str, change: Callable[[bytes], bytes]) -> None:
    """Replace what is stored under name by what change makes of it, as an intruder with the right to put would."""
    value = change(store.get(name))
    store.put(name, value, hashlib.sha256(value).digest())
