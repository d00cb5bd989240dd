"""A store around a store that stores nothing: it reads, counts what would be written, and lists it as if it were."""

import heapq
from collections.abc import Iterator
from datetime import datetime
from threading import Lock

from drtool.repository.storage.base import ObjectStore, ObjectVersion, Rules
from drtool.repository.storage.names import check_name


class DryRunStore:
    """put and delete only count. A listing shows what was put, so that a writer's own checks hold.

    It keeps the names and sizes that were put, no bytes: to get one of them raises ObjectMissing.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = Lock()
        self._sizes: dict[str, int] = {}
        self.deleted = 0

    @property
    def put_objects(self) -> int:
        """How many objects would have been stored."""
        return len(self._sizes)

    @property
    def put_bytes(self) -> int:
        """How many bytes they hold."""
        return sum(self._sizes.values())

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:  # noqa: ARG002
        check_name(name)
        with self._lock:
            self._sizes[name] = memoryview(value).nbytes

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        return self._store.get(name, version, start, length)

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._with_what_was_put(self._store.list(prefix), prefix)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._with_what_was_put(self._store.versions(prefix), prefix)

    def delete(self, name: str, version: str | None = None) -> None:  # noqa: ARG002
        check_name(name)
        with self._lock:
            self.deleted += 1

    def rules(self) -> Rules:
        return self._store.rules()

    def now(self) -> datetime:
        return self._store.now()

    def close(self) -> None:
        self._store.close()

    def _with_what_was_put(self, stored: Iterator[ObjectVersion], prefix: str) -> Iterator[ObjectVersion]:
        now = self._store.now()
        with self._lock:
            put = sorted(item for item in self._sizes.items() if item[0].startswith(prefix))
        names = dict(put)
        return heapq.merge(
            (found for found in stored if found.name not in names),
            (ObjectVersion(name, size, now) for name, size in put),
            key=lambda found: found.name,
        )
