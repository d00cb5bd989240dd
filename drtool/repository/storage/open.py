"""From a repository's url to its object store; each kind is imported only when it is asked for."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from drtool.errors import UsageError
from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.names import check_name
from drtool.repository.storage.settings import S3Credentials, S3Settings

_KINDS = "Write s3://bucket/prefix or file:///folder."


def open_store(
    url: str,
    *,
    clock: Callable[[], datetime],
    endpoint: str | None = None,
    region: str | None = None,
    credentials: Callable[[], S3Credentials] | None = None,
    ca_file: Path | None = None,
) -> ObjectStore:
    """Return the store that url names: s3://bucket/prefix, file:///folder, urls:///file, or memory: for tests.

    Contacts nothing. The options after clock are those of S3Settings. Raises UsageError for what makes no sense.
    """
    try:
        parts = urlsplit(url)
    except ValueError as cause:
        raise UsageError(f"{url!r} is no url of a repository", hint=_KINDS) from cause
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(
            "the url of a repository holds more than a place",
            hint=f"{_KINDS} Credentials come from the policy's references or the environment.",
        )
    match parts.scheme:
        case "s3":
            from drtool.repository.storage.s3 import S3Store

            settings = S3Settings(
                _bucket(url, parts.netloc),
                _prefix(parts.path),
                _endpoint(endpoint),
                region,
                credentials,
                _ca_file(ca_file),
            )
            return S3Store(settings, clock)
        case "file":
            from drtool.repository.storage.directory import DirectoryStore

            return DirectoryStore(_folder(url, parts.netloc, unquote(parts.path)), clock)
        case "urls":
            from drtool.repository.storage.presigned import PresignedStore

            return PresignedStore(_folder(url, parts.netloc, unquote(parts.path)), clock, _ca_file(ca_file))
        case "memory":
            from drtool.repository.storage.memory import MemoryStore

            return MemoryStore(clock)
        case _:
            raise UsageError(f"{url!r} is no url of a repository", hint=_KINDS)


def bucket_of(url: str) -> tuple[str, str]:
    """Return the bucket of an s3: url, and the prefix in it. Raises UsageError for any other."""
    parts = urlsplit(url)
    if parts.scheme != "s3":
        raise UsageError(
            f"{url!r} is no bucket, so nobody has an S3 policy for it", hint="Write s3://bucket/prefix."
        )
    return _bucket(url, parts.netloc), _prefix(parts.path)


def _bucket(url: str, bucket: str) -> str:
    if not bucket or ":" in bucket:
        raise UsageError(
            f"{url!r} names no bucket", hint="Write s3://bucket/prefix; a server goes into endpoint."
        )
    return bucket


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if prefix:
        check_name(prefix)
    return prefix and f"{prefix}/"


def _folder(url: str, host: str, path: str) -> Path:
    if host or not path.startswith("/") or path == "/":
        raise UsageError(
            f"{url!r} names no folder of this machine", hint="Write file:///folder, with three slashes."
        )
    return Path(path)


def _endpoint(endpoint: str | None) -> str | None:
    if endpoint is None:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise UsageError(
            "the endpoint is no http or https url of a server",
            hint="Write https://host:port, without credentials.",
        )
    return endpoint.rstrip("/")


def _ca_file(ca_file: Path | None) -> Path | None:
    if ca_file is not None and not ca_file.is_file():
        raise UsageError(f"the CA file {ca_file} is not there", hint="Give the path of a PEM file.")
    return ca_file
