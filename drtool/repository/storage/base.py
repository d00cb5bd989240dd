"""The object store seam: named bytes, written once. The docstrings are the contract that every store keeps."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of one object, as a listing tells it.

    size is in bytes. modified is UTC by the store's clock. version is the store's id of this version, or None
    where the store keeps no versions. A delete marker has size 0 and no content.
    """

    name: str
    size: int
    modified: datetime
    version: str | None = None
    latest: bool = True
    delete_marker: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What beside its objects decides whether a store keeps history, in words; a store without rules has empty ones.

    changeable names the rules that these credentials may change; expiry says after how long old versions are
    deleted, None where these credentials may not ask; lock how long each new version is locked.
    """

    changeable: tuple[str, ...] = ()
    expiry: str | None = ""
    lock: str = ""


@runtime_checkable
class SignsUrls(Protocol):
    """What a store can do beside that has URLs which need no credentials."""

    def presign(self, name: str, version: str | None, lasts: timedelta) -> str:
        """Return a URL by which whoever has it gets the object, for so long. A secret. Asks nothing of the store."""
        ...


@runtime_checkable
class NamesByContent(Protocol):
    """What a store can do beside that would hash what it is given anyway, to verify it."""

    def put_named(self, prefix: str, value: bytes | bytearray | memoryview) -> bytes:
        """Store value as put does, under prefix and the hex of its SHA-256; return that."""
        ...


class ObjectStore(Protocol):
    """Named bytes below one prefix of one store. Safe to use from many threads.

    Names are relative, `/`-separated, of `[a-zA-Z0-9._-]` parts, at most 512 bytes (`check_name`).
    Every method raises StoreUnavailable when the store cannot be reached or refuses (wrong credentials,
    missing bucket: each its own message and hint), and never answers with part of the truth.
    """

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        """Store value under name, atomically and durably: a reader sees all of it or none.

        sha256 is the 32-byte SHA-256 of value, sent along so that the store refuses damaged bytes.
        Safe to repeat. Never multipart.
        """
        ...

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        """Return the object's bytes, or the range [start, start+length). Raises ObjectMissing.

        A range beyond the end returns what there is. version picks one of `versions`.
        """
        ...

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        """Yield the live objects whose names begin with prefix, in name order, one each.

        The listing is what exists: everything that was put before the call is in it.
        """
        ...

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Yield all versions under prefix, delete markers included: by name, then oldest first.

        A store without versions yields what `list` does.
        """
        ...

    def delete(self, name: str, version: str | None = None) -> None:
        """Delete the object, or one version of it. Silent when it is not there; raises when it is refused."""
        ...

    def rules(self) -> Rules:
        """Return the rules of what holds the objects, and which of them these credentials may change. Changes none."""
        ...

    def now(self) -> datetime:
        """Return the store's clock, UTC. A store without a clock of its own returns the machine's."""
        ...

    def close(self) -> None:
        """Let go of connections. Safe to repeat; a store that is used again opens new ones."""
        ...


def put_named(store: ObjectStore, prefix: str, value: bytes | bytearray | memoryview) -> bytes:
    """Store value under prefix and the hex of its SHA-256; return that. A store that can name it hashes it, once."""
    if isinstance(store, NamesByContent):
        return store.put_named(prefix, value)
    digest = hashlib.sha256(value).digest()
    store.put(prefix + digest.hex(), value, digest)
    return digest
