from collections.abc import Iterator

import pytest

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
