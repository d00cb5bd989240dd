"""A store around a store that notes every call in order, and may fail, hide or hold up some of them."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime

from drtool.repository.format.names import family
from drtool.repository.storage.base import ObjectStore, ObjectVersion, Rules


class Noting:
    """Notes (verb, name) of every call. before is asked first and may raise; hidden names are not listed."""

    def __init__(self, inner: ObjectStore, before: Callable[[str, str], None] = lambda *_: None) -> None:
        self._inner = inner
        self._before = before
        self._lock = threading.Lock()
        self.calls: list[tuple[str, str]] = []
        self.hidden: set[str] = set()
        self.sent = 0

    def _note(self, verb: str, name: str) -> None:
        with self._lock:
            self.calls.append((verb, name))
        self._before(verb, name)

    def of(self, verb: str) -> list[str]:
        """Return the names of that verb's calls, in order."""
        return [name for called, name in self.calls if called == verb]

    def families(self, verb: str) -> list[str]:
        """Return the families of that verb's calls, in order."""
        return [family(name) for name in self.of(verb)]

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        self._note("put", name)
        self._inner.put(name, value, sha256)
        with self._lock:
            self.sent += len(value)

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        self._note("get", name)
        return self._inner.get(name, version, start, length)

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        self._note("list", prefix)
        return (found for found in self._inner.list(prefix) if found.name not in self.hidden)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        self._note("versions", prefix)
        return self._inner.versions(prefix)

    def delete(self, name: str, version: str | None = None) -> None:
        self._note("delete", name)
        self._inner.delete(name, version)

    def rules(self) -> Rules:
        return self._inner.rules()

    def now(self) -> datetime:
        return self._inner.now()

    def close(self) -> None:
        self._inner.close()
