"""Signed records in the store: put one, read one, and refuse what nobody who may sign has signed.

Reader's rule: any version of an object whose SHA-256 fits its name, the oldest first. Putting the same bytes again
changes nothing; other bytes under the same name are not looked at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final, Protocol

from drtool.errors import Corrupt, ObjectMissing, SignerEnded, WrongKey
from drtool.policy.moments import exact
from drtool.repository.config import MAY_SIGN, Config
from drtool.repository.format.crypto import SigningKey, sha256
from drtool.repository.format.grant import Versions
from drtool.repository.format.names import family, json_time, split_hash
from drtool.repository.format.record import (
    Json,
    ListKey,
    Place,
    Signed,
    check_signed,
    seal_record,
    sign,
    unseal_record,
)
from drtool.repository.storage.base import ObjectStore, ObjectVersion

_REMEMBERED: Final = 10_000  # records of a few KB


@dataclass(frozen=True, slots=True)
class Keys:
    """What this process holds. The first list key is the own one, by which new records are sealed."""

    list_keys: Sequence[ListKey] = field(default=(), repr=False)
    id_keys: Sequence[bytes] = field(default=(), repr=False)
    signing: SigningKey | None = None
    role: str = "reader"


@dataclass(frozen=True, slots=True)
class Record:
    """A record that counts: what it says, who signed it, when the store received it, under which name."""

    name: str
    value: Json
    role: str
    signer: str
    received: datetime
    versions: int = 1


class Received(Protocol):
    """What the store received at a moment of its own, under a name that tells one of its writer's."""

    @property
    def name(self) -> str: ...
    @property
    def received(self) -> datetime: ...


def arrival(found: Received) -> tuple[datetime, str]:
    """Return what orders the received: a store may tell whole seconds only, and within one the name tells more."""
    return found.received, found.name


@dataclass(frozen=True, slots=True)
class Stored:
    """One name in the store with all its versions, oldest first, delete markers left out."""

    name: str
    versions: tuple[ObjectVersion, ...]


def versions_of(stored: Stored) -> Versions:
    """Return the versions of an object, oldest first, as a grant has them."""
    return [(each.version, json_time(each.modified), each.size) for each in stored.versions]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that does not count, and why."""

    name: str
    fault: Exception


class Records:
    """The signed records of one repository, as one holder of keys sees them."""

    def __init__(
        self, store: ObjectStore, config: Config, keys: Keys, configs: Sequence[Config] = ()
    ) -> None:
        """Configs are all of the chain, oldest first, where there is more than config: each judges what it received."""
        self.store = store
        self.config = config
        self.configs = configs or (config,)
        self.keys = keys
        self._remembered: dict[Stored, Record] = {}

    def place(self, prefix: str) -> Place:
        """Return what seals and signatures of a record under prefix bind."""
        return Place(self.config.repository_id, family(prefix), prefix)

    def put(self, prefix: str, value: Json) -> str:
        """Sign, seal and store value; return its name. Raises as `seal`."""
        name, sealed = self.seal(prefix, value)
        self.store.put(name, sealed, split_hash(name)[1])
        return name

    def seal(self, prefix: str, value: Json) -> tuple[str, bytes]:
        """Sign and seal value; return its name and its bytes, for who may have to store these very bytes twice.

        Raises WrongKey when we hold no signing key.
        """
        if self.keys.signing is None or not self.keys.list_keys:
            raise WrongKey(
                f"this machine holds no key that may sign {family(prefix)} records",
                hint="Give the bundle of the role that may: `--bundle FILE`.",
            )
        place = self.place(prefix)
        sealed = seal_record(
            sign(value, self.keys.role, self.keys.signing, place), self.keys.list_keys[0], place
        )
        return prefix + sha256(sealed).hex(), sealed

    def put_sealed(self, prefix: str, body: bytes) -> str:
        """Seal body under the own list key and store it; return its name."""
        sealed = seal_record(body, self.keys.list_keys[0], self.place(prefix))
        digest = sha256(sealed)
        name = prefix + digest.hex()
        self.store.put(name, sealed, digest)
        return name

    def read(self, stored: Stored) -> Record:
        """Return the record that a listing showed. Raises Corrupt, ObjectMissing, WrongKey.

        What was read once is remembered: a name's bytes never change, and a run asks several times.
        """
        known = self._remembered.get(stored)
        if known is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            known = self._remembered[stored] = self._read(stored)
        return known

    def _read(self, stored: Stored) -> Record:
        prefix, _ = split_hash(stored.name)
        value, received = self.fetch(stored)
        signed = check_signed(self.unseal(value, prefix, stored.name), self.place(prefix))
        signer = self.check_signer(signed, stored.name, received)
        return Record(stored.name, signed.value, signed.role, signer, received, len(stored.versions))

    def fetch(self, stored: Stored) -> tuple[bytes, datetime]:
        """Return the bytes that fit the name, and when the store received them first. Raises Corrupt."""
        _, digest = split_hash(stored.name)
        for version in stored.versions:
            value = self.store.get(stored.name, version.version)
            if sha256(value) == digest:
                return value, version.modified
        raise damaged(stored.name)

    def fetch_sealed(self, name: str) -> bytes:
        """Return the body of a sealed record by name, signed or not: lists and the like, named by their hash."""
        prefix, _ = split_hash(name)
        return self.unseal(fetch_named(self.store, name), prefix, name)

    def unseal(self, value: bytes, prefix: str, name: str) -> bytes:
        """Return a sealed record's body under any list key that we hold. Raises WrongKey, Corrupt."""
        if not self.keys.list_keys:
            raise WrongKey(f"no list key to read {name}", hint="Give a bundle, or the recovery key.")
        fault: Corrupt | None = None
        for list_key in self.keys.list_keys:
            try:
                return unseal_record(value, list_key, self.place(prefix))
            except Corrupt as error:
                fault = error
            except WrongKey as error:
                raise WrongKey(f"{name}: {error.message}", hint=error.hint) from error
        raise Corrupt(f"{name}: {fault}", hint="No list key of this repository opens it.") from fault

    def check_signer(self, signed: Signed, name: str, received: datetime) -> str:
        """Return the signer's name. Raises Corrupt unless its role, valid then, may sign such a record."""
        if signed.role not in MAY_SIGN.get(family(name), frozenset()):
            raise Corrupt(f"{name}: a {signed.role} may not sign such a record")
        signer = self.config.signer(signed.signer, signed.role, received)
        if signer is None:
            raise self._not_a_signer(signed, name, received)
        return signer.name

    def _not_a_signer(self, signed: Signed, name: str, received: datetime) -> Corrupt:
        ended = self.config.ended_signer(signed.signer, signed.role)
        if ended is None:
            return Corrupt(f"{name}: signed by a key that may not sign as {signed.role}")
        return SignerEnded(
            f"{name}: signed by {ended.name}, which ended at {ended.until}, and received at {exact(received)}",
            hint="If the repository was copied, copy it again with the times of its objects, as `cp --archive` does: "
            "they say when each was received. Else its signer's machine still writes, and may be somebody else's.",
        )

    def all(self, prefix: str) -> Iterator[Record | Unreadable]:
        """Yield every record under prefix by name; one that does not count is yielded with its fault."""
        for stored in stored_objects(self.store, prefix):
            try:
                yield self.read(stored)
            except (Corrupt, ObjectMissing) as fault:
                yield Unreadable(stored.name, fault)


def stored_objects(store: ObjectStore, prefix: str) -> Iterator[Stored]:
    """Yield what is stored under prefix, by name, delete markers ignored: who deletes by a marker hides nothing."""
    for name, group in groupby(store.versions(prefix), key=lambda version: version.name):
        versions = tuple(version for version in group if not version.delete_marker)
        if versions:
            yield Stored(name, versions)


def fetch_named(store: ObjectStore, name: str) -> bytes:
    """Return the bytes of a version that fits name's hash: the live one if it does. Raises Corrupt, ObjectMissing."""
    _, digest = split_hash(name)
    try:
        value = store.get(name)
    except ObjectMissing:
        value = b""
    if sha256(value) == digest:
        return value
    found = [stored for stored in stored_objects(store, name) if stored.name == name]
    if not found:
        raise ObjectMissing(
            f"{name} is not in the store",
            hint="`drtool verify --level L0` tells what else is missing; restore an earlier point.",
        )
    for version in found[0].versions:
        value = store.get(name, version.version)
        if sha256(value) == digest:
            return value
    raise damaged(name)


def damaged(name: str) -> Corrupt:
    """Return the error for an object none of whose versions has the bytes of its name."""
    return Corrupt(
        f"{name}: its bytes are not those of its name",
        hint="Fetch the object, with its time, from a copy of the repository, or restore another point.",
    )


def check_name_fits(name: str, value: bytes) -> None:
    """Return when value has the SHA-256 that ends name. Raises Corrupt."""
    if sha256(value) != split_hash(name)[1]:
        raise damaged(name)
