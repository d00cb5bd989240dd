"""An S3 server on a bad day, for the stores that talk to one."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from drtool.repository.storage.settings import S3Settings
from tests.conftest import S3Server
from tests.faults.proxy import FaultProxy


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def settings(s3_server: S3Server, proxy: FaultProxy) -> S3Settings:
    """Settings through the proxy, without boto3's own retries."""
    return replace(s3_server.at(s3_server.plain), endpoint=proxy.endpoint)
