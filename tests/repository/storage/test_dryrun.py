import hashlib
from datetime import UTC, datetime

import pytest

from drtool.errors import ObjectMissing, UsageError
from drtool.repository.storage.dryrun import DryRunStore
from drtool.repository.storage.memory import MemoryStore
from tests.contracts.object_store import put


@pytest.fixture
def inner() -> MemoryStore:
    store = MemoryStore(lambda: datetime.now(UTC))
    put(store, "b", b"kept")
    put(store, "d", b"kept too")
    return store


def test_nothing_is_stored_or_deleted_but_all_is_counted(inner: MemoryStore) -> None:
    before = list(inner.versions(""))
    store = DryRunStore(inner)

    put(store, "a", b"12345")
    put(store, "c", b"123")
    put(store, "c", b"1234")
    store.put("e", memoryview(b"12"), hashlib.sha256(b"12").digest())
    store.delete("b")

    assert (store.put_objects, store.put_bytes, store.deleted) == (3, 11, 1)
    assert list(inner.versions("")) == before
    assert store.get("b", start=1, length=2) == b"ep"


def test_a_listing_shows_what_was_put_among_what_is_there(inner: MemoryStore) -> None:
    store = DryRunStore(inner)
    for name in ("c", "a", "d"):
        put(store, name, b"x")

    assert [(found.name, found.size) for found in store.list("")] == [("a", 1), ("b", 4), ("c", 1), ("d", 1)]
    assert [found.name for found in store.versions("c")] == ["c"]


def test_what_was_put_is_not_there_to_get(inner: MemoryStore) -> None:
    store = DryRunStore(inner)
    put(store, "a", b"x")

    with pytest.raises(ObjectMissing):
        store.get("a")


def test_a_name_outside_of_the_grammar_is_refused_as_by_a_real_store(inner: MemoryStore) -> None:
    with pytest.raises(UsageError):
        put(DryRunStore(inner), "a b", b"x")
    with pytest.raises(UsageError):
        DryRunStore(inner).delete("a b")


def test_the_clock_is_the_stores(inner: MemoryStore) -> None:
    assert abs((DryRunStore(inner).now() - inner.now()).total_seconds()) < 10
