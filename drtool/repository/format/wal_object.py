"""WAL segments, history files and tails: one object each, under a key of its own.

    "DRW1" head (as a pack's, the commitment and the wraps are those of the object's key)
    u32 m | m bytes of facts: AES-256-GCM( zstd( signed body ) ) under the list key
    AES-256-GCM( zstd( plain ) ) under HKDF(object key, "pack", salt), chunk number 0

The facts come before the sealed bytes, so that who holds only the list key reads them with one small ranged
GET. They name the SHA-256 of the sealed bytes and the commitment: the signature covers everything.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from drtool.errors import Corrupt
from drtool.repository.format import compress
from drtool.repository.format.crypto import (
    SALT_SIZE,
    Recipient,
    Sealer,
    SigningKey,
    random_bytes,
    sha256,
)
from drtool.repository.format.pack import (
    CONTENT,
    ChunkSeal,
    Head,
    commitment,
    encode_head,
    pack_key,
    parse_head,
    sealed_size,
    wrap_info,
    wrap_key,
)
from drtool.repository.format.record import (
    MAX_RECORD,
    Json,
    ListKey,
    Place,
    Signed,
    check_signed,
    record_key,
    sign,
)

MAGIC: Final = b"DRW1"
MAX_FACTS: Final = 64 * 1024
MAX_SEGMENT: Final = 1024 * 1024 * 1024  # the largest that PostgreSQL can be built or told to use
_KIND: Final = "wal"  # of the key of the facts, for tails too
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class WalKeys:
    """What a writer needs to make WAL objects."""

    list_key: ListKey
    signing: SigningKey
    recipients: list[Recipient]


@dataclass(frozen=True, slots=True)
class WalFacts:
    """The readable part of a WAL object: its head, its signed facts, where its sealed bytes begin; the facts' key."""

    head: Head
    signed: Signed
    body_start: int
    key: bytes = field(repr=False)


def encode(plain: bytes, facts: Json, keys: WalKeys, place: Place, volume: str, run: bytes) -> bytes:
    """Return a WAL object. facts are completed by size, body and commitment."""
    object_key, salt = random_bytes(32), random_bytes(SALT_SIZE)
    frame = compress.compress(plain)
    body = bytearray(sealed_size(frame))
    ChunkSeal(pack_key(object_key, salt), salt, place.repository, volume).seal_into(
        0, CONTENT, len(plain), frame, memoryview(body)
    )
    seal = commitment(object_key)
    value = {**facts, "size": len(plain), "body": sha256(body).hex(), "commitment": seal.hex()}
    signed = sign(value, "writer", keys.signing, place)
    sealed_facts = Sealer(record_key(keys.list_key, _KIND, salt)).seal(
        0, compress.compress(signed), _bound(place)
    )
    wraps = wrap_key(object_key, keys.recipients, wrap_info(place.repository, volume, run))
    head = encode_head(Head(place.repository, run, salt, seal, wraps), MAGIC)
    return b"".join([head, _LENGTH.pack(len(sealed_facts)), sealed_facts, bytes(body)])


def parse_facts(value: bytes, list_key: ListKey, place: Place) -> WalFacts:
    """Return the facts at the beginning of a WAL object; value may be cut behind them. Raises Corrupt."""
    head = parse_head(value, MAGIC)
    start = head.size + _LENGTH.size
    if len(value) < start:
        raise Corrupt("a WAL object is cut short")
    (size,) = _LENGTH.unpack_from(value, head.size)
    if size > MAX_FACTS or len(value) < start + size:
        raise Corrupt("the facts of a WAL object are cut short")
    sealed = value[start : start + size]
    key = record_key(list_key, _KIND, head.salt)
    signed = compress.decompress(Sealer(key).unseal(0, sealed, _bound(place)), MAX_RECORD)
    facts = check_signed(signed, place)
    if facts.value.get("commitment") != head.commitment.hex():
        raise Corrupt("a WAL object's head and facts name different keys")
    return WalFacts(head, facts, start + size, key)


def unseal(value: bytes, facts: WalFacts, key: bytes, volume: str) -> bytes:
    """Return the plain bytes of a whole WAL object under its pack key. Raises Corrupt."""
    body = memoryview(value)[facts.body_start :]
    if sha256(body).hex() != facts.signed.value.get("body"):
        raise Corrupt("a WAL object's sealed bytes are not those that were signed")
    size = facts.signed.value.get("size")
    if not isinstance(size, int):
        raise Corrupt("the facts of a WAL object name no size")
    seal = ChunkSeal(key, facts.head.salt, facts.head.repository, volume)
    return seal.unseal(0, CONTENT, size, body, MAX_SEGMENT)


def _bound(place: Place) -> bytes:
    return place.repository + place.prefix.encode()
