from datetime import UTC, datetime, timedelta

import pytest

from drtool.repository.storage.memory import MemoryStore
from tests.contracts.object_store import ObjectStoreContract, put


class TestMemoryStore(ObjectStoreContract):
    has_versions = True

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(lambda: datetime.now(UTC))


class TestMemoryStoreWithoutVersions(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(lambda: datetime.now(UTC), versioned=False)


def test_times_are_those_of_the_clock_that_was_given() -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(3)]
    clock = iter(moments)
    store = MemoryStore(lambda: next(clock))

    put(store, "a", b"x")
    put(store, "a", b"y")

    assert [found.modified for found in store.versions("a")] == moments[:2]
    assert store.now() == moments[2]
