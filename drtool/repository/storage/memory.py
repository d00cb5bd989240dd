"""An object store in memory, with versions: for tests, the simulator and dry runs. Held to the same contract."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock

from drtool.errors import ObjectMissing, StoreUnavailable
from drtool.repository.storage.base import ObjectVersion, Rules
from drtool.repository.storage.names import check_name, check_prefix


@dataclass(frozen=True, slots=True)
class _Stored:
    version: str
    value: bytes
    modified: datetime
    delete_marker: bool = False


class MemoryStore:
    """Everything is gone with the process. versioned: each put adds a version, and a delete puts a marker."""

    def __init__(self, clock: Callable[[], datetime], *, versioned: bool = True) -> None:
        self._clock = clock
        self._versioned = versioned
        self._objects: dict[str, tuple[_Stored, ...]] = {}  # oldest first, never empty
        self._made = 0
        self._lock = Lock()

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        check_name(name)
        if hashlib.sha256(value).digest() != sha256:
            raise StoreUnavailable(
                f"the bytes of {name} do not match their SHA-256; nothing was stored",
                hint="Check this machine's memory, and run it again.",
            )
        with self._lock:
            self._add(name, bytes(value))

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        for stored in reversed(self._objects.get(name, ())):
            if version in (None, stored.version):
                if stored.delete_marker:
                    break
                return stored.value[start : None if length is None else start + length]
        raise ObjectMissing(f"object {name} is not in the store")

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        for version in self._all(prefix):
            if version.latest and not version.delete_marker:
                yield version if self._versioned else replace(version, version=None)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._all(prefix) if self._versioned else self.list(prefix)

    def delete(self, name: str, version: str | None = None) -> None:
        check_name(name)
        with self._lock:
            stored = self._objects.get(name, ())
            if version is None and self._versioned:
                if stored and not stored[-1].delete_marker:
                    self._add(name, b"", delete_marker=True)
                return
            kept = () if version is None else tuple(one for one in stored if one.version != version)
            if kept:
                self._objects[name] = kept
            else:
                self._objects.pop(name, None)

    def rules(self) -> Rules:
        return Rules()

    def now(self) -> datetime:
        return self._clock()

    def close(self) -> None:
        """Hold nothing open."""

    def _add(self, name: str, value: bytes, *, delete_marker: bool = False) -> None:
        self._made += 1
        older = self._objects.get(name, ()) if self._versioned else ()
        self._objects[name] = (*older, _Stored(f"{self._made:08d}", value, self._clock(), delete_marker))

    def _all(self, prefix: str) -> Iterator[ObjectVersion]:
        """Return all versions as they are now: by name, then oldest first."""
        check_prefix(prefix)
        with self._lock:
            objects = [item for item in self._objects.items() if item[0].startswith(prefix)]
        return (
            ObjectVersion(
                name, len(one.value), one.modified, one.version, one is stored[-1], one.delete_marker
            )
            for name, stored in sorted(objects)
            for one in stored
        )
