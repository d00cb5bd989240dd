"""Objects behind URLs that somebody with credentials has signed: who gets them needs none. The only door to urllib3.

The URLs stand in a file, which is read again when it changes: they expire, and whoever signed them renews it. A URL
that the store refuses is an outage until then, and `RetryingStore` has the patience.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Final, NoReturn
from urllib.parse import urlsplit

import urllib3

from drtool.errors import ObjectMissing, StoreOutage, StoreUnavailable, UsageError
from drtool.repository.storage.base import ObjectVersion, Rules
from drtool.repository.storage.names import check_name
from drtool.repository.storage.s3_errors import Asked, refusal, unreachable
from drtool.repository.storage.urls import SignedUrls, parse_urls

CONNECTIONS: Final = 16
CONNECT_S: Final = 10
READ_S: Final = 60
_REFUSED: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class PresignedStore:
    """Gets what a file has URLs for, and does nothing else. A name without a version is the newest that was signed."""

    def __init__(self, file: Path, clock: Callable[[], datetime], ca_file: Path | None = None) -> None:
        self._file = file
        self._clock = clock
        self._lock = Lock()
        self._seen: tuple[int, ...] = ()
        self._urls = SignedUrls("", "", {})
        self._pool = urllib3.PoolManager(
            maxsize=CONNECTIONS,
            block=True,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            ca_certs=None if ca_file is None else str(ca_file),
        )

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        urls = self._current()
        url = urls.of(name, version)
        if url is None:
            told = name if version is None else f"version {version} of {name}"
            raise ObjectMissing(
                f"there is no URL for {told} in {self._file}", hint="Sign it together with its grant."
            )
        stop = (
            None if length is None else start + max(length, 1)
        )  # an empty range is asked as one byte, and cut
        asked = Asked(f"get {name}", urls.bucket, urlsplit(url).netloc)
        try:
            answer = self._pool.request("GET", url, headers=_range(start, stop), decode_content=False)
        except urllib3.exceptions.HTTPError as cause:
            raise unreachable(cause, asked) from cause
        if answer.status in _REFUSED:
            raise StoreOutage(
                f"{asked.place} refuses the URL of {name}: those in {self._file} are good until {urls.expires}",
                hint="Sign them anew, `drtool keys grant --point … --presign 6h --urls-output NEW`, and move NEW over "
                "that file; or look at the rights of who signed them.",
            )
        return _content(answer, asked, start)[:length]

    def _current(self) -> SignedUrls:
        """Return the URLs, read again where the file has changed."""
        with self._lock:
            try:
                found = self._file.stat()
                seen = (found.st_mtime_ns, found.st_ino, found.st_size)
                if seen != self._seen:
                    self._urls = parse_urls(self._file.read_bytes())
                    self._seen = seen
            except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as fault:
                raise UsageError(
                    f"{self._file} is no file of URLs that drtool signed",
                    hint="`drtool keys grant --presign 6h --urls-output FILE` writes one.",
                ) from fault
            return self._urls

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:  # noqa: ARG002 - refused
        self._refuse("put")

    def list(self, prefix: str) -> Iterator[ObjectVersion]:  # noqa: ARG002 - refused whatever the prefix
        self._refuse("list")

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:  # noqa: ARG002 - refused whatever the prefix
        self._refuse("list")

    def delete(self, name: str, version: str | None = None) -> None:  # noqa: ARG002 - refused whatever the name
        self._refuse("delete")

    def rules(self) -> Rules:
        self._refuse("ask for rules")

    def now(self) -> datetime:
        return self._clock()

    def close(self) -> None:
        self._pool.clear()

    def _refuse(self, what: str) -> NoReturn:
        raise StoreUnavailable(
            f"the URLs in {self._file} get objects, and cannot {what}",
            hint="They go with a grant: `drtool restore --grant`. Anything else takes the store's own URL.",
        )


def _range(start: int, stop: int | None) -> dict[str, str]:
    return {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop else {}


def _content(answer: urllib3.BaseHTTPResponse, asked: Asked, start: int) -> bytes:
    """Return the bytes from start on that a store answered with. Raises StoreUnavailable."""
    match answer.status:
        case HTTPStatus.OK:  # all of it, whatever range was asked for
            return answer.data[start:]
        case HTTPStatus.PARTIAL_CONTENT:
            return answer.data
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return b""
        case HTTPStatus.NOT_FOUND:
            raise refusal("NoSuchKey", answer.status, asked)
    raise refusal(str(answer.status), answer.status, asked)
