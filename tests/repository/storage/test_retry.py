import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from drtool.errors import ObjectMissing, StoreOutage, StoreUnavailable, TemporaryFailure
from drtool.repository.storage.base import ObjectVersion, put_named
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.storage.retry import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    UNKNOWN_STORE_S,
    RetryingStore,
    fenced,
)
from tests.contracts.object_store import ObjectStoreContract, put

PROMPT_S = 5


class Flaky(MemoryStore):
    """Raises fault at the first `failures` calls, and once in each listing behind its second object."""

    def __init__(self, fault: Exception, failures: int) -> None:
        super().__init__(lambda: datetime.now(UTC))
        self._fault = fault
        self.failures = failures
        self.calls = 0
        self.breaks = 0

    def _fail(self) -> None:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise self._fault

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        self._fail()
        super().put(name, value, sha256)

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        self._fail()
        return super().get(name, version, start, length)

    def delete(self, name: str, version: str | None = None) -> None:
        self._fail()
        super().delete(name, version)

    def now(self) -> datetime:
        self._fail()
        return super().now()

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        for number, found in enumerate(super().versions(prefix)):
            if self.breaks and number == 2:
                self.breaks -= 1
                raise self._fault
            yield found


class FlakyNaming(Flaky):
    """One that names objects by what it wrote, as a directory does."""

    def put_named(self, prefix: str, value: bytes | bytearray | memoryview) -> bytes:
        digest = hashlib.sha256(value).digest()
        self.put(prefix + digest.hex(), value, digest)
        return digest


class Time:
    """A clock that moves only while somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def monotonic(self) -> float:
        return sum(self.slept)


def retrying(store: MemoryStore, time: Time, deadline_s: float = 600) -> RetryingStore:
    return RetryingStore(
        store, deadline_s=deadline_s, sleep=time.sleep, monotonic=time.monotonic, rng=random.Random(7)
    )


class TestRetryingStore(ObjectStoreContract):
    has_versions = True

    @pytest.fixture
    def store(self) -> RetryingStore:
        return retrying(Flaky(StoreOutage("down"), 1), Time())


def test_an_outage_is_waited_out() -> None:
    time, store = Time(), Flaky(StoreOutage("down"), 5)

    put(retrying(store, time), "a", b"x")

    assert store.calls == 6
    assert len(time.slept) == 5


def test_pauses_grow_with_full_jitter_up_to_a_limit() -> None:
    time, store = Time(), Flaky(StoreOutage("down"), 0)
    known = retrying(store, time, deadline_s=10_000)
    known.now()
    store.failures = 30

    known.now()

    longest = [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(30)]
    assert all(0 <= slept <= limit for slept, limit in zip(time.slept, longest, strict=True))
    assert max(time.slept) > LONGEST_PAUSE_S / 2
    assert min(time.slept[10:]) < LONGEST_PAUSE_S / 4


def test_the_last_outage_is_raised_once_the_deadline_has_passed() -> None:
    time, store = Time(), Flaky(StoreOutage("down"), 0)
    known = retrying(store, time, deadline_s=60)
    known.now()
    store.failures = 10_000

    with pytest.raises(StoreOutage, match="down"):
        known.get("a")

    assert time.monotonic() == pytest.approx(60)
    assert store.calls > 2


@pytest.mark.parametrize(
    "call", [lambda store: store.now(), lambda store: store.get("a")], ids=["now", "get"]
)
def test_a_store_that_never_answered_is_not_waited_for_long(call: Callable[[RetryingStore], object]) -> None:
    time, store = Time(), Flaky(StoreOutage("down"), 10_000)

    with pytest.raises(StoreOutage, match="down"):
        call(retrying(store, time, deadline_s=600))

    assert time.monotonic() == pytest.approx(UNKNOWN_STORE_S)


def test_nothing_is_waited_for_once_drtool_was_asked_to_end() -> None:
    ending, store = threading.Event(), Flaky(StoreOutage("down"), 0)
    known = RetryingStore(store, deadline_s=600, ending=ending)
    known.now()
    store.failures = 10_000
    threading.Timer(0.3, ending.set).start()
    begun = time.monotonic()

    with pytest.raises(StoreOutage, match="down"):
        known.get("a")

    assert time.monotonic() - begun < PROMPT_S


@pytest.mark.parametrize("refusal", [StoreUnavailable("denied"), ObjectMissing("not there")])
def test_a_refusal_is_raised_at_once(refusal: StoreUnavailable) -> None:
    time, store = Time(), Flaky(refusal, 1)

    with pytest.raises(type(refusal)):
        retrying(store, time).get("a")

    assert store.calls == 1
    assert time.slept == []


def test_a_listing_that_breaks_goes_on_behind_what_it_gave() -> None:
    store = Flaky(StoreOutage("down"), 0)
    for name in ("a", "b", "b", "b", "c", "d"):
        put(store, name, b"x")
    expected = list(store.versions(""))
    store.breaks = 3

    assert list(retrying(store, Time()).versions("")) == expected
    assert store.breaks == 0


def test_a_listing_that_always_breaks_ends_with_the_outage() -> None:
    store = Flaky(StoreOutage("down"), 0)
    for name in ("a", "b", "c", "d"):
        put(store, name, b"x")
    store.breaks = 10_000

    with pytest.raises(StoreOutage):
        list(retrying(store, Time(), deadline_s=60).versions(""))


def test_a_fence_is_asked_before_each_attempt_to_change_something_and_before_no_other() -> None:
    asked: list[int] = []
    store = Flaky(StoreOutage("down"), 3)
    known = fenced(retrying(store, Time()), lambda: asked.append(store.calls))

    put(known, "a", b"x")
    assert known.get("a") == b"x"
    known.delete("a")

    assert asked == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("is_patient", [True, False])
def test_a_fence_that_falls_while_a_store_is_away_keeps_all_out(*, is_patient: bool) -> None:
    def refuse() -> None:
        raise TemporaryFailure("it is theirs now")

    store = Flaky(StoreOutage("down"), 0)
    known = fenced(retrying(store, Time()) if is_patient else store, refuse)

    with pytest.raises(TemporaryFailure, match="theirs"):
        put(known, "a", b"x")
    assert store.calls == 0


def test_a_store_that_nobody_was_patient_with_is_not_waited_for_behind_a_fence() -> None:
    store = Flaky(StoreOutage("down"), 2)

    with pytest.raises(StoreOutage):
        put(fenced(store, lambda: None), "a", b"x")

    assert store.calls == 1


@pytest.mark.parametrize("kind", [Flaky, FlakyNaming])
def test_an_object_that_the_store_names_is_put_again_after_an_outage_and_only_while_it_is_ours(
    kind: type[Flaky],
) -> None:
    store, asked = kind(StoreOutage("away"), 2), list[int]()
    known = fenced(retrying(store, Time()), lambda: asked.append(store.calls))

    digest = put_named(known, "packs/", b"x")

    assert digest == hashlib.sha256(b"x").digest()
    assert [found.name for found in store.list("")] == [f"packs/{digest.hex()}"]
    assert asked == [0, 1, 2]
