import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drtool.errors import StoreOutage, StoreUnavailable
from drtool.repository.storage.base import ObjectStore, Rules
from drtool.repository.storage.directory import DirectoryStore
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.storage.probe import Finding, probe_store
from drtool.repository.storage.s3 import S3Store
from tests.conftest import S3Server
from tests.faults.proxy import Answer, FaultProxy, error

ESSENTIAL = {
    "an object reads back",
    "a part of it reads back",
    "a listing shows it at once",
    "damaged bytes are refused",
}


def now() -> datetime:
    return datetime.now(UTC)


def probe(store: ObjectStore) -> dict[str, Finding]:
    return {finding.name: finding for finding in probe_store(store, now)}


@pytest.fixture
def versioned(s3_server: S3Server) -> Iterator[S3Store]:
    store = S3Store(s3_server.at(s3_server.versioned))
    yield store
    store.close()


def test_a_versioned_bucket_is_told_from_what_its_credentials_may_destroy(versioned: S3Store) -> None:
    began = time.monotonic()
    table = probe(versioned)

    assert time.monotonic() - began < 5
    assert {name for name, finding in table.items() if finding.essential} == ESSENTIAL
    assert [name for name, finding in table.items() if not finding.ok] == [
        "no pack can be read",
        "no version can be deleted",
        "no stored object can be deleted",
        "the bucket's rules are out of reach",
    ]
    assert len(list(versioned.versions(""))) == 0
    assert probe(versioned)["an overwrite harms nothing"].ok  # the probe has not turned versions off
    assert list(versioned.versions("")) == []


def test_a_directory_keeps_nothing_that_is_overwritten(tmp_path: Path) -> None:
    table = probe(DirectoryStore(tmp_path, now))

    assert all(table[name].ok for name in ESSENTIAL)
    assert [name for name, finding in table.items() if not finding.ok] == [
        "no pack can be read",
        "an overwrite harms nothing",
        "a delete harms nothing",
        "no version can be deleted",
        "no stored object can be deleted",
    ]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_writer_who_may_not_delete_or_overwrite_has_nothing_to_fear(s3_server: S3Server) -> None:
    with FaultProxy(s3_server.server.endpoint) as proxy:
        store = S3Store(replace(s3_server.at(s3_server.versioned), endpoint=proxy.endpoint))
        proxy.inject(Answer(403, error("AccessDenied")), when="DELETE", times=20)

        table = probe(store)
        store.close()

    assert [name for name, finding in table.items() if not finding.ok] == [
        "no pack can be read",
        "the bucket's rules are out of reach",
    ]
    assert table["a delete harms nothing"].detail == "it is refused"
    assert table["no version can be deleted"].detail == "it is refused"


class Careless(MemoryStore):
    """Stores whatever comes."""

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        self._add(name, bytes(value))


class WriteOnce(MemoryStore):
    """Refuses to overwrite."""

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        if next(self.list(name), None):
            raise StoreUnavailable("it is there")
        super().put(name, value, sha256)


class Locked(MemoryStore):
    """Accepts the deletion of a version, and keeps it."""

    def delete(self, name: str, version: str | None = None) -> None:
        if version is None:
            super().delete(name)


class Undead(MemoryStore):
    """Accepts a deletion, and goes on listing."""

    def delete(self, name: str, version: str | None = None) -> None:
        return


class Stale(MemoryStore):
    """Never shows in a listing what was put."""

    def list(self, prefix: str) -> Iterator[object]:  # type: ignore[override]  # nothing is of every type
        return iter(())


class Forgetful(MemoryStore):
    """Reads back something else."""

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        return super().get(name, version, start, length)[::-1]


class Unreadable(MemoryStore):
    """Lets nobody read."""

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        raise StoreUnavailable("reading is not allowed")


class Late(MemoryStore):
    """Its clock is ahead."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=6)


class Expiring(MemoryStore):
    """Deletes old versions by a rule."""

    def rules(self) -> Rules:
        return Rules(expiry="30 days")


class Silent(MemoryStore):
    """Does not tell its rules."""

    def rules(self) -> Rules:
        return Rules(expiry=None)


class LockedByRule(Locked):
    """Locks each version, whoever may delete."""

    def rules(self) -> Rules:
        return Rules(lock="COMPLIANCE, 30 days")


class Inventive(MemoryStore):
    """Has an answer for everything."""

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        return b"" if name.startswith("packs/") else super().get(name, version, start, length)


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (Expiring, "old versions do not expire", "the bucket deletes them after 30 days"),
        (Silent, "old versions do not expire", "allow s3:GetLifecycleConfiguration"),
        (MemoryStore, "no stored object can be deleted", "may delete config, heads, packs"),
        (Inventive, "no pack can be read", "answers for what is not there"),
        (MemoryStore, "no pack can be read", "these credentials read packs"),
        (Careless, "damaged bytes are refused", "it stores bytes that do not match"),
        (Stale, "a listing shows it at once", "the listing does not show it"),
        (Forgetful, "an object reads back", "other bytes came back"),
        (Forgetful, "a part of it reads back", "other bytes came back"),
        (Unreadable, "an object reads back", "reading is not allowed"),
        (Undead, "a delete harms nothing", "still shows what was deleted"),
        (Late, "the clocks agree", "360 s ahead of"),
    ],
)
def test_each_fault_of_a_store_is_found(kind: type[MemoryStore], name: str, words: str) -> None:
    finding = probe(kind(now))[name]

    assert not finding.ok
    assert words in finding.detail


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (WriteOnce, "an overwrite harms nothing", "it is refused"),
        (Locked, "no version can be deleted", "the version is still there"),
        (
            LockedByRule,
            "no stored object can be deleted",
            "the bucket locks each version: COMPLIANCE, 30 days",
        ),
        (MemoryStore, "old versions do not expire", "no rule deletes them"),
    ],
)
def test_a_protection_is_believed_when_it_is_seen(kind: type[MemoryStore], name: str, words: str) -> None:
    finding = probe(kind(now))[name]

    assert finding.ok
    assert finding.detail == words


def test_a_store_that_takes_nothing_cannot_be_probed(s3_server: S3Server) -> None:
    store = S3Store(replace(s3_server.plain, bucket="none"))

    with pytest.raises(StoreUnavailable, match="there is no bucket none"):
        probe(store)


def test_what_is_not_told_or_not_changed_for_want_of_a_right_is_told_from_what_is_not_there(
    s3_server: S3Server,
) -> None:
    with FaultProxy(s3_server.server.endpoint) as proxy:
        store = S3Store(replace(s3_server.at(s3_server.versioned), endpoint=proxy.endpoint))
        assert store.rules().expiry == ""
        proxy.inject(Answer(403, error("AccessDenied")), times=5)
        assert store.rules() == Rules((), None, "")
        proxy.inject(Answer(501, error("NotImplemented")), times=5)
        assert store.rules() == Rules((), "", "")
        store.close()


def test_an_outage_is_no_finding(s3_server: S3Server) -> None:
    with FaultProxy(s3_server.server.endpoint) as proxy:
        store = S3Store(replace(s3_server.at(s3_server.plain), endpoint=proxy.endpoint))
        for method in ("GET", "DELETE"):
            proxy.inject(Answer(503, error("SlowDown")), when=method)
            with pytest.raises(StoreOutage):
                probe(store)
        store.close()
