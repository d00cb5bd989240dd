"""Signed bodies, and the two containers that carry them: sealed under the list key, or public.

    signed body     u32 n | n bytes of JSON | 32 public key of the signer | 64 signature
    sealed record   "DRR1" | suite | 32 salt | AES-256-GCM( zstd( body ) )
    public record   "DRC1" | suite | signed body

The signature covers repository, kind, name prefix, role and the JSON, byte for byte; the seal binds
repository and name prefix. So a record cannot be moved to another name, kind or repository.
"""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from drtool.errors import Corrupt
from drtool.repository.format import compress
from drtool.repository.format.crypto import (
    SALT_SIZE,
    SIGNATURE_SIZE,
    SUITE,
    Sealer,
    SigningKey,
    check_signature,
    derive,
    random_bytes,
)

Json = dict[str, Any]
# A list key, or what has only some of the keys that are derived from it, by kind and salt, and raises for the others.
ListKey = bytes | Callable[[str, bytes], bytes]

SEALED_MAGIC: Final = b"DRR1"
PUBLIC_MAGIC: Final = b"DRC1"
_HEAD = struct.Struct(">4sB")
_LENGTH = struct.Struct(">I")
_PUBLIC_KEY_SIZE: Final = 32
_ROLE = re.compile(r"[a-z]{1,16}")
MAX_RECORD: Final = 64 * 1024 * 1024  # plain bytes; a list of 65,536 places has less than 8 MiB


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed body whose signature fits. Whether the signer may sign is asked elsewhere."""

    value: Json
    role: str
    signer: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: what its seal and its signature bind beside the bytes."""

    repository: bytes
    kind: str
    prefix: str


def sign(value: Json, role: str, key: SigningKey, place: Place) -> bytes:
    """Return the signed body of value, as role."""
    text = json.dumps({"role": role, **value}, separators=(",", ":"), ensure_ascii=False).encode()
    return _LENGTH.pack(len(text)) + text + key.public + key.sign(_message(text, role, place))


def check_signed(body: bytes, place: Place) -> Signed:
    """Return what a signed body says. Raises Corrupt when its form or its signature is wrong."""
    end = _LENGTH.size + (_LENGTH.unpack_from(body)[0] if len(body) >= _LENGTH.size else 0)
    if len(body) != end + _PUBLIC_KEY_SIZE + SIGNATURE_SIZE:
        raise Corrupt("a signed record has a wrong length")
    text, signer = body[_LENGTH.size : end], body[end : end + _PUBLIC_KEY_SIZE]
    value = _parse(text)
    role = value.pop("role", None)
    if not isinstance(role, str) or not _ROLE.fullmatch(role):
        raise Corrupt("a signed record names no role")
    check_signature(signer, body[-SIGNATURE_SIZE:], _message(text, role, place))
    return Signed(value, role, signer)


def peek_json(body: bytes) -> Json:
    """Return the JSON of a signed body whose signature nobody has checked: a claim, to be held against a key."""
    end = _LENGTH.size + (_LENGTH.unpack_from(body)[0] if len(body) >= _LENGTH.size else 0)
    return _parse(body[_LENGTH.size : end])


def _message(text: bytes, role: str, place: Place) -> bytes:
    parts = [b"drtool/1 signature\0", place.repository]
    for word in (place.kind, place.prefix, role):
        encoded = word.encode()
        parts += [struct.pack(">H", len(encoded)), encoded]
    return b"".join([*parts, text])


def _parse(text: bytes) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise Corrupt("a signed record is not JSON") from fault
    if not isinstance(value, dict):
        raise Corrupt("a signed record is not a JSON object")
    return value


def record_key(list_key: ListKey, kind: str, salt: bytes) -> bytes:
    """Return the key of the one record of that kind that has this salt."""
    return list_key(kind, salt) if callable(list_key) else derive(list_key, f"record {kind}", salt)


def record_salt(value: bytes) -> bytes:
    """Return the salt of a sealed record. Raises Corrupt."""
    check_head(value, SEALED_MAGIC)
    return value[_HEAD.size : _HEAD.size + SALT_SIZE]


def seal_record(body: bytes, list_key: ListKey, place: Place, salt: bytes | None = None) -> bytes:
    """Return a sealed record. salt is random unless a test vector gives it."""
    salt = salt or random_bytes(SALT_SIZE)
    sealer = Sealer(record_key(list_key, place.kind, salt))
    sealed = sealer.seal(0, compress.compress(body), _associated(place))
    return _HEAD.pack(SEALED_MAGIC, SUITE) + salt + sealed


def unseal_record(value: bytes, list_key: ListKey, place: Place) -> bytes:
    """Return the body of a sealed record. Raises Corrupt; a wrong list_key cannot be told from damage."""
    sealer = Sealer(record_key(list_key, place.kind, record_salt(value)))
    sealed = value[_HEAD.size + SALT_SIZE :]
    return compress.decompress(sealer.unseal(0, sealed, _associated(place)), MAX_RECORD)


def _associated(place: Place) -> bytes:
    return place.repository + place.prefix.encode()


def pack_public(body: bytes) -> bytes:
    """Return a public record around a signed body."""
    return _HEAD.pack(PUBLIC_MAGIC, SUITE) + body


def cut_public(value: bytes) -> bytes:
    """Return the signed body of a public record. Raises Corrupt."""
    check_head(value, PUBLIC_MAGIC)
    return value[_HEAD.size :]


def check_head(value: bytes, magic: bytes) -> None:
    """Return when value begins with magic and a suite that we know. Raises Corrupt."""
    if len(value) < _HEAD.size:
        raise Corrupt("an object is too short to be read")
    found, suite = _HEAD.unpack_from(value)
    if found != magic:
        raise Corrupt(f"an object begins with {found!r}, not with {magic!r}")
    if suite != SUITE:
        raise Corrupt(
            f"an object is of suite {suite}, which this drtool does not know",
            hint="A newer drtool may have written it: read it with the newest.",
        )
