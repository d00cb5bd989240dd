"""Grants: the keys of one point and nothing else, sealed to one runner.

    "DRG1" | suite | 16 repository | 8 fingerprint of the runner | u16 n | n bytes: the point's name | 80 wrap
    AES-256-GCM( zstd( signed body ) ) under HKDF(the grant's key, "grant"), number 0; associated data: all before it

The grant's key is random and used for this one. The wrap binds repository, point and runner; the signature is over
repository, point and body as a record's, with the kind "grant" and the point in place of the name prefix.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from drtool.errors import Corrupt, WrongKey
from drtool.repository.format import compress
from drtool.repository.format.crypto import (
    KEY_SIZE,
    SUITE,
    WRAP_SIZE,
    Recipient,
    RecoveryKey,
    Sealer,
    SigningKey,
    derive,
    random_bytes,
)
from drtool.repository.format.record import Json, Place, check_head, check_signed, sign

MAGIC: Final = b"DRG1"
ROLE: Final = "operator"
MAX_GRANT: Final = 256 * 1024 * 1024  # plain bytes: some 25 TB of packs
_KIND: Final = "grant"
_FIXED = struct.Struct(">4sB16s8sH")

Versions = Sequence[Sequence[Any]]  # of one object, oldest first: version, received, bytes


@dataclass(frozen=True, slots=True)
class Grant:
    """What a runner is given. All that is binary is hex.

    objects are those of the point, as a listing told them. records holds the keys of sealed records and of WAL's facts,
    packs those of packs and WAL objects, both by salt; private_ids the keys of private ids, by the commitment of their
    run; id_keys those of the other ids. told is what operations decided: the moment, and what is to be replayed.
    """

    admin: str
    made: str
    objects: Mapping[str, Versions]
    records: Mapping[str, str] = field(repr=False)
    packs: Mapping[str, str] = field(repr=False)
    private_ids: Mapping[str, str] = field(repr=False)
    id_keys: Sequence[str] = field(repr=False)
    told: Json


@dataclass(frozen=True, slots=True)
class Opened:
    """A grant whose signature fits; whether its signer may sign is asked elsewhere."""

    repository: bytes
    point: str
    grant: Grant
    signer: bytes


def seal_grant(grant: Grant, place: tuple[bytes, str], signing: SigningKey, runner: Recipient) -> bytes:
    """Return grant as bytes, signed and sealed to runner. place is the repository's id and the point's name."""
    repository, point = place
    value = {name: getattr(grant, name) for name in Grant.__dataclass_fields__}
    body = sign({**value, "to": runner.public.hex()}, ROLE, signing, Place(repository, _KIND, point))
    name = point.encode()
    key = random_bytes(KEY_SIZE)
    head = _FIXED.pack(MAGIC, SUITE, repository, runner.fingerprint, len(name)) + name
    head += runner.wrap(key, _info(repository, name))
    return head + Sealer(derive(key, _KIND)).seal(0, compress.compress(body), head)


def unseal_grant(value: bytes, runner: RecoveryKey) -> Opened:
    """Return the grant in value. Raises WrongKey when it was made for another runner, Corrupt."""
    check_head(value, MAGIC)
    if len(value) < _FIXED.size:
        raise Corrupt("a grant is cut short")
    _, _, repository, fingerprint, size = _FIXED.unpack_from(value)
    start = _FIXED.size + size + WRAP_SIZE
    if len(value) < start:
        raise Corrupt("a grant is cut short")
    name = value[_FIXED.size : _FIXED.size + size]
    if fingerprint != runner.recipient.fingerprint:
        raise WrongKey(
            "the grant was made for another runner",
            hint="Give the runner's own key file, or make a grant to its public line: `drtool keys grant --to`.",
        )
    try:
        key = runner.unwrap(value[start - WRAP_SIZE : start], _info(repository, name))
    except WrongKey as fault:
        raise Corrupt("a grant's wrapped key does not authenticate") from fault
    frame = Sealer(derive(key, _KIND)).unseal(0, value[start:], value[:start])
    point = name.decode("utf-8", "replace")
    signed = check_signed(compress.decompress(frame, MAX_GRANT), Place(repository, _KIND, point))
    if signed.role != ROLE or signed.value.pop("to", None) != runner.recipient.public.hex():
        raise Corrupt("a grant was signed for another runner, or by a role that grants nothing")
    try:
        return Opened(repository, point, Grant(**signed.value), signed.signer)
    except TypeError as fault:
        raise Corrupt("a grant lacks a field, or has one that this drtool does not know") from fault


def _info(repository: bytes, name: bytes) -> bytes:
    return b"drtool/1 grant\0" + repository + struct.pack(">H", len(name)) + name
