"""What a client of an S3 store must know. Without boto3, so that the command line may build it cheaply."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """One pair of keys; the token goes with temporary ones. The secret parts cannot be printed."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where a bucket is and how to reach it.

    prefix is empty or ends in `/`. endpoint is a URL, or None for AWS itself. credentials is asked again when the
    store calls the last ones expired; None leaves it to boto3's own chain (environment, files, web identity, roles).
    ca_file is a PEM file that replaces the usual certificate authorities.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    credentials: Callable[[], S3Credentials] | None = None
    ca_file: Path | None = None
    connect_timeout_s: float = 10
    read_timeout_s: float = 60

    @property
    def place(self) -> str:
        """The endpoint as messages name it."""
        return self.endpoint or "AWS S3"
