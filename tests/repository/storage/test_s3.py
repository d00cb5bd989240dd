from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from drtool.repository.storage import s3
from drtool.repository.storage.clock import elapsed
from drtool.repository.storage.s3 import S3Store
from tests.conftest import S3Server
from tests.contracts.object_store import ObjectStoreContract


class TestS3Store(ObjectStoreContract):
    @pytest.fixture
    def store(self, s3_server: S3Server) -> Iterator[S3Store]:
        store = S3Store(s3_server.at(s3_server.plain))
        yield store
        store.close()


class TestS3StoreWithVersions(ObjectStoreContract):
    has_versions = True

    @pytest.fixture
    def store(self, s3_server: S3Server) -> Iterator[S3Store]:
        store = S3Store(s3_server.at(s3_server.versioned))
        yield store
        store.close()


def test_who_ask_for_the_clock_one_after_the_other_are_told_moments_in_that_order(
    s3_server: S3Server,
) -> None:
    asked = []
    for _ in range(16):  # within a second or two, of a clock that tells whole seconds
        with closing(S3Store(s3_server.plain, lambda: datetime.now(UTC))) as store:
            asked.append(store.now())

    assert asked == sorted(asked)


def test_who_stalls_behind_the_answer_is_told_no_moment_before_that(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a machine under load does, for longer than a second: both of its clocks go on."""
    stalled = timedelta()

    def stalls() -> datetime:
        nonlocal stalled
        stalled = timedelta(seconds=2)
        return datetime.now(UTC) + stalled

    monkeypatch.setattr(s3, "elapsed", lambda: elapsed() + stalled.total_seconds())
    with closing(S3Store(s3_server.plain, stalls)) as store:
        asked = datetime.now(UTC)
        assert asked - timedelta.resolution <= store.now() <= datetime.now(UTC) + stalled
