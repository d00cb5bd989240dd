"""A repository as the holder of a grant sees it: one point of it, found without a listing, opened without its keys.

What a grant says is believed as far as an operator signed it whom the config enrols, and the config as far as the admin
signed it. Which admin: the one that the runner's key file trusts. Without a line of trust there a grant names its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from drtool.errors import Corrupt, Refused, WrongKey
from drtool.repository.format.crypto import KEY_SIZE
from drtool.repository.format.grant import ROLE, Grant, Opened, unseal_grant
from drtool.repository.format.names import parse_json_time
from drtool.repository.format.pack import Head
from drtool.repository.kit import RunnerLine
from drtool.repository.records import Keys, Records
from drtool.repository.repository import Repository, load_config
from drtool.repository.storage.base import ObjectStore, ObjectVersion, Rules
from drtool.repository.unwrap import PackKeys

_NO_KEY: Final = bytes(
    KEY_SIZE
)  # a WAL object has no chunks with private ids; no id of a pack's would fit this one
_ONE_POINT: Final = "A grant opens one point: make one for what you need, `drtool keys grant`."


class GrantKeys:
    """The keys in a grant, by what asks for them."""

    def __init__(self, opened: Opened) -> None:
        self._point = opened.point
        self._grant = opened.grant

    def open(self, head: Head, volume: str) -> PackKeys:
        """Return the keys of a pack or a WAL object. Raises WrongKey for one that is not granted."""
        found = self._grant.packs.get(head.salt.hex())
        if found is None:
            raise self._refusal(
                f"the object of {volume}'s run {head.run.hex()} that has salt {head.salt.hex()}"
            )
        private = self._grant.private_ids.get(head.commitment.hex())
        return PackKeys(_key(found), _key(private) if private else _NO_KEY)

    def record_key(self, kind: str, salt: bytes) -> bytes:
        """Return the key of a sealed record, or of the facts of WAL. Raises WrongKey for one that is not granted."""
        found = self._grant.records.get(salt.hex())
        if found is None:
            raise self._refusal(f"this record of kind {kind}")
        return _key(found)

    def _refusal(self, what: str) -> WrongKey:
        return WrongKey(f"the grant of {self._point} does not open {what}", hint=_ONE_POINT)


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except (ValueError, TypeError) as fault:
        raise Corrupt("a key in the grant is malformed") from fault


class GrantedStore:
    """A store of which only the objects of a grant are seen, as they were listed when it was made. Reads only."""

    def __init__(self, store: ObjectStore, opened: Opened) -> None:
        self._store = store
        self._point = opened.point
        self._versions = _versions(opened.grant)

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:  # noqa: ARG002 - refused
        raise self._reads_only(name)

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        if name not in self._versions:
            raise WrongKey(f"the grant of {self._point} does not hold {name}", hint=_ONE_POINT)
        return self._store.get(name, version, start, length)

    def list(self, prefix: str) -> Iterator[ObjectVersion]:
        return (versions[-1] for name, versions in self._versions.items() if name.startswith(prefix))

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        for name, versions in self._versions.items():
            if name.startswith(prefix):
                yield from versions

    def delete(self, name: str, version: str | None = None) -> None:  # noqa: ARG002 - refused whatever the version
        raise self._reads_only(name)

    def rules(self) -> Rules:
        return Rules()

    def now(self) -> datetime:
        return self._store.now()

    def close(self) -> None:
        self._store.close()

    def _reads_only(self, name: str) -> Refused:
        return Refused(f"the grant of {self._point} lets nobody change {name}", hint="A grant only reads.")


def _versions(grant: Grant) -> Mapping[str, Sequence[ObjectVersion]]:
    try:
        return {
            name: [
                ObjectVersion(name, size, parse_json_time(received), version)
                for version, received, size in rows
            ]
            for name, rows in sorted(grant.objects.items())
            if rows
        }
    except (ValueError, TypeError, AttributeError) as fault:
        raise Corrupt("the objects of the grant are malformed") from fault


def open_with_grant(
    store: ObjectStore, value: bytes, runner: RunnerLine, now: datetime
) -> tuple[Repository, Opened]:
    """Return the repository as the grant in value lets runner see it. Raises WrongKey or Corrupt before any download.

    now is held against the validity of who signed it.
    """
    opened = unseal_grant(value, runner.key)
    admin = _key(opened.grant.admin)
    runner.check(opened.repository, admin)
    seen, keys = GrantedStore(store, opened), GrantKeys(opened)
    chain = load_config(seen, opened.repository, admin)
    if chain.config.signer(opened.signer, ROLE, now) is None:
        raise WrongKey(
            f"the grant of {opened.point} is signed by a key that may not sign as {ROLE}",
            hint="Make another with the kit of this repository: `drtool keys grant`.",
        )
    held = Keys([keys.record_key], [_key(each) for each in opened.grant.id_keys])
    records = Records(seen, chain.config, held, chain.configs)
    return Repository(seen, chain.config, chain.digests[-1], records, keys), opened
