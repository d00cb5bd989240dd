"""Faults of the object store: a proxy in front of MinIO, in the machine room, that pods reach too.

with throttling_store(lab.minio) as store:
    ... whatever has store.endpoint for its endpoint is answered 503 SlowDown ...

store.requests has what was asked, and store.inject() adds faults while it runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.cluster.minio import Minio
from tests.faults.proxy import Answer, Delay, Fault, FaultProxy, Truncate, error


@contextmanager
def faulty_store(
    minio: Minio, fault: Fault, *, times: int | None = None, when: str = "", after: int = 0
) -> Iterator[FaultProxy]:
    """Let requests meet a fault: those whose "METHOD /path" holds when, after the first few; all of them, or some."""
    address = urlsplit(minio.endpoint).hostname
    assert address is not None
    with FaultProxy(minio.endpoint, address=address) as proxy:
        proxy.inject(fault, times=times, when=when, after=after)
        yield proxy


@contextmanager
def slow_store(minio: Minio, seconds: float = 1.0) -> Iterator[FaultProxy]:
    """Let every request wait before it is carried out."""
    with faulty_store(minio, Delay(seconds)) as proxy:
        yield proxy


@contextmanager
def throttling_store(minio: Minio, times: int | None = None) -> Iterator[FaultProxy]:
    """Answer 503 SlowDown: to all requests, or only to the first ones."""
    answer = Answer(503, error("SlowDown", "Please reduce your request rate."))
    with faulty_store(minio, answer, times=times) as proxy:
        yield proxy


@contextmanager
def truncating_store(minio: Minio, after: int, times: int | None = None) -> Iterator[FaultProxy]:
    """End the answer to every GET, or to the first ones, after so many bytes of its body."""
    with faulty_store(minio, Truncate(after), times=times, when="GET ") as proxy:
        yield proxy


@contextmanager
def expiring_credentials(minio: Minio, after: int) -> Iterator[FaultProxy]:
    """Answer as if the credentials had expired, 403 ExpiredToken, once so many requests have passed."""
    answer = Answer(403, error("ExpiredToken", "The provided token has expired."))
    with faulty_store(minio, answer, after=after) as proxy:
        yield proxy
