"""URLs that somebody signed get what they were signed for, until they expire; then the file is renewed."""

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drtool.errors import ObjectMissing, StoreOutage, StoreUnavailable, UsageError
from drtool.repository.storage.base import ObjectVersion, Rules, SignsUrls
from drtool.repository.storage.open import open_store
from drtool.repository.storage.presigned import PresignedStore
from drtool.repository.storage.retry import RetryingStore
from drtool.repository.storage.s3 import S3Store
from drtool.repository.storage.settings import S3Settings
from drtool.repository.storage.urls import SignedUrls, parse_urls
from tests.conftest import S3Server
from tests.contracts.object_store import ObjectStoreContract, put
from tests.faults.proxy import Answer, FaultProxy, Reset, Truncate, error

HOUR = timedelta(hours=1)


def clock() -> datetime:
    return datetime.now(UTC)


def sign(store: S3Store, file: Path, lasts: timedelta = HOUR) -> None:
    """Write a file of URLs for every version that store holds, as a renewal does."""
    urls: dict[str, dict[str, str]] = {}
    for found in store.versions(""):
        if not found.delete_marker:
            urls.setdefault(found.name, {})[found.version or ""] = store.presign(
                found.name, found.version, lasts
            )
    write(file, urls)


def write(file: Path, urls: Mapping[str, Mapping[str, str]]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(SignedUrls("plain", "noon", urls).dump())
    fresh.rename(file)


class Signing:
    """What is got is signed first, whether it is there or not, and comes by its URL; the rest is the store's."""

    def __init__(self, store: S3Store, file: Path) -> None:
        self._store = store
        self._file = file
        self._presigned = PresignedStore(file, clock)
        self._lock = threading.Lock()
        self._urls: dict[str, dict[str, str]] = {}

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        self._store.put(name, value, sha256)

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        with self._lock:
            self._urls.setdefault(name, {})[version or ""] = self._store.presign(name, version, HOUR)
            write(self._file, self._urls)
        return self._presigned.get(name, version, start, length)

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._store.list(prefix)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        return self._store.versions(prefix)

    def delete(self, name: str, version: str | None = None) -> None:
        self._store.delete(name, version)

    def rules(self) -> Rules:
        return self._store.rules()

    def now(self) -> datetime:
        return self._presigned.now()

    def close(self) -> None:
        self._presigned.close()
        self._store.close()


class TestPresignedStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, s3_server: S3Server, tmp_path: Path) -> Iterator[Signing]:
        store = Signing(S3Store(s3_server.at(s3_server.plain)), tmp_path / "urls")
        yield store
        store.close()


@pytest.fixture
def s3(settings: S3Settings) -> Iterator[S3Store]:
    store = S3Store(settings)
    yield store
    store.close()


@pytest.fixture
def file(s3: S3Store, tmp_path: Path) -> Path:
    put(s3, "a", b"0123456789")
    sign(s3, tmp_path / "urls")
    return tmp_path / "urls"


@pytest.fixture
def store(file: Path) -> Iterator[PresignedStore]:
    store = PresignedStore(file, clock)
    yield store
    store.close()


def test_each_version_has_its_url_and_a_name_alone_means_the_newest(
    s3_server: S3Server, tmp_path: Path
) -> None:
    s3 = S3Store(s3_server.at(s3_server.versioned))
    put(s3, "a", b"first")
    put(s3, "a", b"second")
    sign(s3, tmp_path / "urls")
    put(s3, "a", b"third, which nobody signed")
    store = PresignedStore(tmp_path / "urls", clock)
    versions = [found.version for found in s3.versions("a")]
    assert [store.get("a", version) for version in versions[:2]] == [b"first", b"second"]
    assert store.get("a") == b"second"
    with pytest.raises(ObjectMissing, match=f"no URL for version {versions[2]} of a"):
        store.get("a", versions[2])
    store.close()
    s3.close()


def test_an_object_that_went_after_it_was_signed_is_missing(s3: S3Store, store: PresignedStore) -> None:
    s3.delete("a")
    with pytest.raises(ObjectMissing, match="get a"):
        store.get("a")


def test_expired_urls_are_waited_for_until_the_file_is_renewed(
    s3: S3Store, file: Path, store: PresignedStore
) -> None:
    sign(s3, file, timedelta(seconds=1))
    _expire(store)
    patient = RetryingStore(store, deadline_s=60)
    renewal = threading.Timer(0.5, lambda: sign(s3, file))
    renewal.start()
    assert patient.get("a") == b"0123456789"
    renewal.join()


def _expire(store: PresignedStore) -> None:
    """Wait until the store refuses a URL."""
    deadline = time.monotonic() + 60
    with pytest.raises(StoreOutage):  # noqa: PT012 - until it does
        while time.monotonic() < deadline:
            store.get("a")


def test_urls_that_nobody_renews_end_with_what_to_do(s3: S3Store, file: Path, store: PresignedStore) -> None:
    sign(s3, file, timedelta(seconds=1))
    _expire(store)
    with pytest.raises(StoreOutage, match=r"refuses the URL of a: those in .* are good until noon") as caught:
        RetryingStore(store, deadline_s=0.5).get("a")
    assert "move NEW over that file" in caught.value.hint
    assert "Signature" not in str(caught.value)


@pytest.mark.parametrize("fault", [Reset(), Truncate(5), Answer(503, error("SlowDown")), Answer(429)])
def test_a_store_that_does_not_answer_is_an_outage(
    proxy: FaultProxy, store: PresignedStore, fault: Any
) -> None:
    proxy.inject(fault)
    with pytest.raises(StoreOutage, match="cannot get a in bucket plain") as caught:
        store.get("a")
    assert "Signature" not in caught.value.message


def test_a_server_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/plain/a?X-Amz-Signature=1"
    (tmp_path / "urls").write_bytes(SignedUrls("plain", "noon", {"a": {"": url}}).dump())
    store = PresignedStore(tmp_path / "urls", clock)
    with pytest.raises(StoreOutage, match=r"cannot get a in bucket plain, 127\.0\.0\.1:\d+ is not available"):
        store.get("a")
    store.close()


def test_an_answer_that_nobody_knows_is_told(proxy: FaultProxy, store: PresignedStore) -> None:
    proxy.inject(Answer(418, b""))
    with pytest.raises(StoreUnavailable, match="HTTP 418"):
        store.get("a")


def test_a_server_that_ignores_the_range_is_cut(proxy: FaultProxy, store: PresignedStore) -> None:
    proxy.inject(Answer(200, b"0123456789"))
    assert store.get("a", start=3, length=2) == b"34"


@pytest.mark.parametrize(
    "content",
    [None, b"", b"no gzip", gzip.compress(b"no JSON"), gzip.compress(json.dumps({"urls": 1}).encode())],
    ids=["absent", "empty", "no gzip", "no JSON", "no URLs"],
)
def test_what_is_no_file_of_urls_is_refused(file: Path, store: PresignedStore, content: bytes | None) -> None:
    assert store.get("a")
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="is no file of URLs that drtool signed"):
        store.get("a")


def test_a_file_of_urls_is_read_as_it_was_written_and_prints_none() -> None:
    urls = SignedUrls("b", "noon", {"a": {"v1": "http://x?Signature=1", "v2": "http://x?Signature=2"}})
    assert parse_urls(urls.dump()) == urls
    assert "Signature" not in repr(urls)
    assert (urls.of("a", "v1"), urls.of("a", None), urls.of("b", None)) == (
        "http://x?Signature=1",
        "http://x?Signature=2",
        None,
    )


def test_nothing_else_is_done_by_urls(store: PresignedStore) -> None:
    calls: dict[str, Callable[[], object]] = {
        "put": lambda: store.put("a", b"", hashlib.sha256(b"").digest()),
        "list": lambda: list(store.list("")),
        "delete": lambda: store.delete("a"),
        "ask for rules": store.rules,
    }
    for what, call in calls.items():
        with pytest.raises(StoreUnavailable, match=f"cannot {what}"):
            call()
    with pytest.raises(StoreUnavailable, match="cannot list"):
        list(store.versions(""))
    assert store.now() <= clock()


def test_a_url_of_a_repository_may_name_the_file(file: Path) -> None:
    store = open_store(f"urls://{file}", clock=clock)
    assert isinstance(store, PresignedStore)
    assert not isinstance(store, SignsUrls)
    assert store.get("a", length=3) == b"012"
    store.close()
