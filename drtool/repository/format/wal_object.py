"""WAL segments, history files and tails: one object each, under a key of its own.

    "DRW1" head (as a pack's, the commitment and the wraps are those of the object's key)
    u32 m | m bytes of facts: AES-256-GCM( zstd( signed body ) ) under the list key
    AES-256-GCM( zstd( plain ) ) under HKDF(object key, "pack", salt), chunk number 0

The facts come before the sealed bytes, so that who holds only the list key reads them with one small ranged
GET. They name the SHA-256 of the sealed bytes and the commitment: the signature covers everything.
"""

import struct
from dataclasses import dataclass
from typing import Final

from drtool.errors import Corrupt
from drtool.repository.format import compress
from drtool.repository.format.crypto import (
    SALT_SIZE,
    Recipient,
    Sealer,
    SigningKey,
    derive,
    random_bytes,
    sha256,
)
from drtool.repository.format.pack import (
    CONTENT,
    ChunkSeal,
    Head,
    commitment,
    encode_head,
    parse_head,
    sealed_size,
    wrap_info,
    wrap_key,
)
from drtool.repository.format.record import MAX_RECORD, Json, Place, Signed, check_signed, sign

MAGIC: Final = b"DRW1"
MAX_FACTS: Final = 64 * 1024
MAX_SEGMENT: Final = 1024 * 1024 * 1024  # the largest that PostgreSQL can be built or told to use
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class WalKeys:
    """What a writer needs to make WAL objects."""

    list_key: bytes
    signing: SigningKey
    recipients: list[Recipient]


@dataclass(frozen=True, slots=True)
class WalFacts:
    """The readable part of a WAL object: its head, its signed facts, and where its sealed bytes begin."""

    head: Head
    signed: Signed
    body_start: int


def encode(plain: bytes, facts: Json, keys: WalKeys, place: Place, volume: str, run: bytes) -> bytes:
    """Return a WAL object. facts are completed by size, body and commitment."""
    object_key, salt = random_bytes(32), random_bytes(SALT_SIZE)
    frame = compress.compress(plain)
    body = bytearray(sealed_size(frame))
    ChunkSeal(object_key, salt, place.repository, volume).seal_into(
        0, CONTENT, len(plain), frame, memoryview(body)
    )
    seal = commitment(object_key)
    value = {**facts, "size": len(plain), "body": sha256(body).hex(), "commitment": seal.hex()}
    signed = sign(value, "writer", keys.signing, place)
    sealed_facts = _facts_sealer(keys.list_key, salt).seal(0, compress.compress(signed), _bound(place))
    wraps = wrap_key(object_key, keys.recipients, wrap_info(place.repository, volume, run))
    head = encode_head(Head(place.repository, run, salt, seal, wraps), MAGIC)
    return b"".join([head, _LENGTH.pack(len(sealed_facts)), sealed_facts, bytes(body)])


def parse_facts(value: bytes, list_key: bytes, place: Place) -> WalFacts:
    """Return the facts at the beginning of a WAL object; value may be cut behind them. Raises Corrupt."""
    head = parse_head(value, MAGIC)
    start = head.size + _LENGTH.size
    if len(value) < start:
        raise Corrupt("a WAL object is cut short")
    (size,) = _LENGTH.unpack_from(value, head.size)
    if size > MAX_FACTS or len(value) < start + size:
        raise Corrupt("the facts of a WAL object are cut short")
    sealed = value[start : start + size]
    signed = compress.decompress(
        _facts_sealer(list_key, head.salt).unseal(0, sealed, _bound(place)), MAX_RECORD
    )
    facts = check_signed(signed, place)
    if facts.value.get("commitment") != head.commitment.hex():
        raise Corrupt("a WAL object's head and facts name different keys")
    return WalFacts(head, facts, start + size)


def unseal(value: bytes, facts: WalFacts, object_key: bytes, volume: str) -> bytes:
    """Return the plain bytes of a whole WAL object. Raises Corrupt."""
    body = memoryview(value)[facts.body_start :]
    if sha256(body).hex() != facts.signed.value.get("body"):
        raise Corrupt("a WAL object's sealed bytes are not those that were signed")
    if commitment(object_key) != facts.head.commitment:
        raise Corrupt("a WAL object was wrapped with another key for this recipient than for the others")
    size = facts.signed.value.get("size")
    if not isinstance(size, int):
        raise Corrupt("the facts of a WAL object name no size")
    seal = ChunkSeal(object_key, facts.head.salt, facts.head.repository, volume)
    return seal.unseal(0, CONTENT, size, body, MAX_SEGMENT)


def _facts_sealer(list_key: bytes, salt: bytes) -> Sealer:
    return Sealer(derive(list_key, "record wal", salt))


def _bound(place: Place) -> bytes:
    return place.repository + place.prefix.encode()
