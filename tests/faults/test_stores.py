"""The stores that fail on purpose are seen to fail."""

import hashlib
import os
import signal
from datetime import UTC, datetime

import pytest

from drtool.repository.storage.memory import MemoryStore
from tests.contracts.object_store import names, put
from tests.faults.stores import Crash, CrashingStore, FlippingStore, damage, flipped, kill_this_process


@pytest.fixture
def inner() -> MemoryStore:
    return MemoryStore(lambda: datetime.now(UTC))


@pytest.mark.parametrize(("options", "expected"), [({}, ["a"]), ({"done": True}, ["a", "b"])])
def test_a_crashing_store_is_dead_from_its_nth_call_on(
    inner: MemoryStore, options: dict[str, bool], expected: list[str]
) -> None:
    store = CrashingStore(inner, 2, **options)  # type: ignore[arg-type]  # done alone

    put(store, "a", b"x")
    for name in ("b", "c"):
        with pytest.raises(Crash):
            put(store, name, b"x")
    for call in (lambda: store.get("a"), lambda: store.list(""), lambda: store.versions(""), store.now):
        with pytest.raises(Crash):
            call()

    assert names(inner) == expected


def test_a_crashing_store_without_a_number_counts_every_call(inner: MemoryStore) -> None:
    store = CrashingStore(inner)

    put(store, "a", b"x")
    store.get("a")
    list(store.list(""))
    list(store.versions(""))
    store.delete("a")
    store.now()

    assert store.calls == 6


def test_a_crash_by_kill_ends_the_process(inner: MemoryStore) -> None:
    child = os.fork()
    if child == 0:
        put(CrashingStore(inner, 1, die=kill_this_process), "a", b"x")
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_flipping_store_changes_one_bit_of_one_object(inner: MemoryStore) -> None:
    put(inner, "a", b"0000")
    put(inner, "b", b"0000")
    store = FlippingStore(inner, "a", 2)

    assert store.get("a") == b"0010"
    assert store.get("a", start=1, length=2) == b"01"
    assert store.get("a", start=3) == b"0"
    assert store.get("b") == b"0000"


def test_damage_replaces_what_is_stored(inner: MemoryStore) -> None:
    put(inner, "a", b"0000")

    damage(inner, "a", lambda value: flipped(value, 0))

    assert inner.get("a") == b"1000"
    assert hashlib.sha256(inner.get("a")).digest() != hashlib.sha256(b"0000").digest()
