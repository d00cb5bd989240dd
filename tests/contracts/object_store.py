"""What every object store must do."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from drtool.errors import ObjectMissing, StoreUnavailable, UsageError
from drtool.repository.storage.base import ObjectStore, put_named

MIB = 1024 * 1024


def put(store: ObjectStore, name: str, value: bytes) -> None:
    store.put(name, value, hashlib.sha256(value).digest())


def names(store: ObjectStore, prefix: str = "") -> list[str]:
    return [found.name for found in store.list(prefix)]


class ObjectStoreContract:
    """Subclass it and provide `store`, an empty one; has_versions tells whether it keeps versions."""

    has_versions = False

    @pytest.fixture
    def store(self) -> ObjectStore:
        raise NotImplementedError

    @pytest.mark.parametrize(
        "value", [b"", b"x", b"\x00\xff\r\n" * 1000], ids=["empty", "one byte", "binary"]
    )
    def test_get_returns_what_put_stored(self, store: ObjectStore, value: bytes) -> None:
        put(store, "a/b", value)

        assert store.get("a/b") == value

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_every_kind_of_buffer_is_stored(self, store: ObjectStore, kind: type) -> None:
        value = os.urandom(70_000)

        store.put("a", kind(value), hashlib.sha256(value).digest())

        assert store.get("a") == value

    @pytest.mark.parametrize(
        "value", [b"", b"x", os.urandom(MIB) * 2 + b"odd"], ids=["empty", "a byte", "two MiB"]
    )
    @pytest.mark.parametrize("prefix", ["", "packs/week/", "wal/segment-"])
    def test_an_object_is_named_by_its_sha256(self, store: ObjectStore, prefix: str, value: bytes) -> None:
        digest = hashlib.sha256(value).digest()

        assert put_named(store, prefix, bytearray(value)) == digest
        assert put_named(store, prefix, memoryview(value)) == digest
        assert names(store) == [prefix + digest.hex()]
        assert store.get(prefix + digest.hex()) == value

    def test_a_large_object_is_stored_in_one_piece(self, store: ObjectStore) -> None:
        value = os.urandom(MIB) * 40

        put(store, "packs/large", value)

        assert hashlib.sha256(store.get("packs/large")).digest() == hashlib.sha256(value).digest()
        assert [found.size for found in store.list("packs/")] == [40 * MIB]
        assert store.get("packs/large", start=39 * MIB, length=2 * MIB) == value[39 * MIB :]

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (3, 4, b"3456"),
            (0, 1, b"0"),
            (3, 0, b""),
            (8, 100, b"89"),
            (10, 1, b""),
            (11, None, b""),
            (99, 5, b""),
        ],
    )
    def test_a_range_beyond_the_end_returns_what_there_is(
        self, store: ObjectStore, start: int, length: int | None, expected: bytes
    ) -> None:
        put(store, "a", b"0123456789")

        assert store.get("a", start=start, length=length) == expected

    def test_a_range_of_an_empty_object_is_empty(self, store: ObjectStore) -> None:
        put(store, "empty", b"")

        assert store.get("empty", start=0, length=5) == b""
        assert store.get("empty", start=7) == b""

    def test_an_object_that_is_not_there_is_missing(self, store: ObjectStore) -> None:
        put(store, "a/b", b"x")

        for name in ("a/c", "b", "c/d/e"):
            with pytest.raises(ObjectMissing, match=name):
                store.get(name)
            with pytest.raises(ObjectMissing, match=name):
                store.get(name, start=3, length=2)

    def test_putting_the_same_again_changes_nothing(self, store: ObjectStore) -> None:
        put(store, "a", b"x")
        put(store, "a", b"x")

        assert store.get("a") == b"x"
        assert names(store) == ["a"]

    def test_the_last_put_is_read(self, store: ObjectStore) -> None:
        put(store, "a", b"first, and longer")
        put(store, "a", b"second")

        assert store.get("a") == b"second"
        assert [(found.name, found.size) for found in store.list("")] == [("a", 6)]

    def test_damaged_bytes_are_refused_and_nothing_is_stored(self, store: ObjectStore) -> None:
        put(store, "kept", b"good")

        for name in ("new", "kept"):
            with pytest.raises(StoreUnavailable) as refused:
                store.put(name, b"damaged", hashlib.sha256(b"what was meant").digest())
            assert "SHA-256" in refused.value.message

        assert names(store) == ["kept"]
        assert store.get("kept") == b"good"

    def test_a_listing_is_in_name_order_whatever_the_folders_are(self, store: ObjectStore) -> None:
        stored = ["a/b", "a-c", "a-b/c", "a.b/c", "a/c", "a0", "a/b-d/x", "a/b.d", "A", "ab", "b/c/d/e", "_"]
        for name in stored:
            put(store, name, b"x")

        assert names(store) == sorted(stored)
        assert [found.name for found in store.versions("")] == sorted(stored)

    @pytest.mark.parametrize(
        "prefix", ["", "p", "packs", "packs/", "packs/db", "packs/db/", "packs/db/w1", "packs/db/w1/a"]
    )
    def test_a_prefix_is_the_beginning_of_a_name(self, store: ObjectStore, prefix: str) -> None:
        stored = [
            f"{kind}/{volume}/{week}/{n}"
            for kind in ("packs", "part")
            for volume in ("d", "db", "db-old")
            for week in ("w1", "w11")
            for n in ("a", "ab")
        ]
        for name in stored:
            put(store, name, b"x")

        expected = sorted(name for name in stored if name.startswith(prefix))
        assert names(store, prefix) == expected
        assert [found.name for found in store.versions(prefix)] == expected

    @pytest.mark.parametrize("prefix", ["none", "none/", "a/none", "a/b/none/", "a/b/"])
    def test_a_prefix_that_nothing_has_lists_nothing(self, store: ObjectStore, prefix: str) -> None:
        put(store, "a/b", b"x")

        assert names(store, prefix) == []
        assert list(store.versions(prefix)) == []

    def test_more_objects_than_a_page_holds_are_all_listed(self, store: ObjectStore) -> None:
        stored = [f"packs/db/{n:04d}" for n in range(1_100)] + [f"packs/db-old/{n}" for n in range(5)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda name: put(store, name, b"x"), stored))

        expected = sorted(stored)
        assert names(store, "packs/") == expected
        assert names(store, "packs/db/") == sorted(stored[:1_100])
        assert [found.name for found in store.versions("packs/")] == expected

    def test_a_listing_tells_sizes_and_times(self, store: ObjectStore) -> None:
        before = store.now()
        put(store, "a", b"12345")

        (found,) = store.list("a")

        assert (found.name, found.size, found.latest, found.delete_marker) == ("a", 5, True, False)
        assert found.modified.tzinfo is UTC
        assert abs(found.modified - before) < timedelta(seconds=30)

    def test_a_listing_may_be_left_early(self, store: ObjectStore) -> None:
        for name in ("a/1", "a/2", "b"):
            put(store, name, b"x")

        assert next(iter(store.list(""))).name == "a/1"

    def test_what_is_deleted_is_gone(self, store: ObjectStore) -> None:
        put(store, "a/b", b"x")
        put(store, "a/c", b"y")

        store.delete("a/b")

        assert names(store) == ["a/c"]
        with pytest.raises(ObjectMissing):
            store.get("a/b")

    def test_a_deleted_name_can_be_put_again(self, store: ObjectStore) -> None:
        put(store, "a", b"x")
        store.delete("a")
        put(store, "a", b"y")

        assert store.get("a") == b"y"
        assert names(store) == ["a"]

    def test_deleting_what_is_not_there_is_silent(self, store: ObjectStore) -> None:
        store.delete("a/b")
        put(store, "a/b", b"x")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("a/b", version="none")

        assert names(store) == []

    def test_a_store_keeps_all_versions_or_lists_the_live_ones(self, store: ObjectStore) -> None:
        put(store, "a/x", b"1")
        put(store, "a/x", b"22")
        store.delete("a/x")
        put(store, "a/x", b"333")
        put(store, "a/y", b"4444")

        versions = list(store.versions("a/"))

        if not self.has_versions:
            assert versions == list(store.list("a/"))
            assert [(found.name, found.version) for found in versions] == [("a/x", None), ("a/y", None)]
            return
        assert [found.name for found in versions] == ["a/x"] * 4 + ["a/y"]
        assert sum(found.delete_marker for found in versions) == 1
        kept = [found for found in versions if not found.delete_marker]
        assert [found.size for found in kept] == [1, 2, 3, 4]
        assert [found.latest for found in versions] == [False, False, False, True, True]
        assert [store.get(found.name, found.version) for found in kept] == [b"1", b"22", b"333", b"4444"]
        assert store.get("a/x", kept[1].version, start=1, length=5) == b"2"

    def test_one_version_can_be_deleted(self, store: ObjectStore) -> None:
        if not self.has_versions:
            assert all(found.version is None for found in store.versions(""))
            return
        put(store, "a", b"1")
        put(store, "a", b"22")
        first, second = store.versions("a")

        store.delete("a", second.version)

        assert store.get("a") == b"1"
        assert [found.version for found in store.versions("a")] == [first.version]
        with pytest.raises(ObjectMissing):
            store.get("a", second.version)
        store.delete("a", first.version)
        assert list(store.versions("")) == []

    def test_a_deleted_object_shows_among_the_versions_only(self, store: ObjectStore) -> None:
        put(store, "gone/deep/x", b"1")
        store.delete("gone/deep/x")

        assert names(store) == []
        assert len(list(store.versions("gone/"))) == (2 if self.has_versions else 0)

    def test_many_threads_work_at_once(self, store: ObjectStore) -> None:
        def work(n: int) -> bytes:
            value = bytes([n]) * (n * 1000)
            put(store, f"t/{n % 5}/{n:03d}", value)
            put(store, "t/shared", b"same")
            assert store.get("t/shared") == b"same"
            assert f"t/{n % 5}/{n:03d}" in names(store, f"t/{n % 5}/")
            return store.get(f"t/{n % 5}/{n:03d}")

        with ThreadPoolExecutor(16) as threads:
            values = list(threads.map(work, range(64)))

        assert values == [bytes([n]) * (n * 1000) for n in range(64)]
        assert len(names(store, "t/")) == 65

    def test_readers_of_a_name_that_is_overwritten_see_one_of_its_contents(self, store: ObjectStore) -> None:
        contents = [bytes([n]) * 200_000 for n in range(8)]
        put(store, "a", contents[0])

        with ThreadPoolExecutor(8) as threads:
            writing = [threads.submit(put, store, "a", content) for content in contents]
            reading = [threads.submit(store.get, "a") for _ in range(24)]

        assert all(task.exception() is None for task in writing)
        assert all(task.result() in contents for task in reading)

    @pytest.mark.parametrize(
        "name",
        ["", "/a", "a/", "a//b", "..", "a/../b", ".", "a b", "a~", "ä", "a\n", "x" * 256, "x/" * 256 + "x"],
    )
    def test_a_name_outside_of_the_grammar_is_refused(self, store: ObjectStore, name: str) -> None:
        with pytest.raises(UsageError):
            put(store, name, b"x")
        with pytest.raises(UsageError):
            store.get(name)
        with pytest.raises(UsageError):
            store.delete(name)
        assert names(store) == []

    @pytest.mark.parametrize("prefix", ["/", "a//", "../", "~"])
    def test_a_prefix_that_no_name_can_have_is_refused(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(UsageError):
            list(store.list(prefix))
        with pytest.raises(UsageError):
            list(store.versions(prefix))

    @pytest.mark.parametrize("name", ["x" * 255, "/".join(["x" * 127] * 4), "a/.b/..c", "0-_.Z"])
    def test_a_name_at_the_edge_of_the_grammar_is_stored(self, store: ObjectStore, name: str) -> None:
        put(store, name, b"x")

        assert store.get(name) == b"x"
        assert names(store) == [name]

    def test_the_clock_is_in_utc_and_goes_on(self, store: ObjectStore) -> None:
        first = store.now()

        assert first.tzinfo is UTC
        assert abs(first - datetime.now(UTC)) < timedelta(seconds=30)
        assert store.now() >= first
