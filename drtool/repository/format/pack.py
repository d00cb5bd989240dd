"""Packs and the heads that carry wrapped keys.

    pack     head | sealed chunks, back to back
    head     "DRP1" | suite | 16 repository | 16 run | 32 salt | 32 commitment
             | u8 n | n × (8 fingerprint | 80 wrap)
    chunk    AES-256-GCM( zstd( plain ) ) under the pack's key; nonce: the chunk's number in the pack

The run's key is wrapped for each recipient; the pack's key is HKDF(run key, "pack", salt). The commitment is
HKDF(run key, "commit"): a recipient that was given another key than the rest sees that it does not fit.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drtool.errors import Corrupt
from drtool.repository.format import compress
from drtool.repository.format.crypto import (
    SALT_SIZE,
    SUITE,
    TAG_SIZE,
    WRAP_SIZE,
    Recipient,
    Sealer,
    derive,
    keyed_id,
)
from drtool.repository.format.record import check_head

MAGIC: Final = b"DRP1"
FINGERPRINT_SIZE: Final = 8
MAX_CHUNK: Final = 16 * 1024 * 1024  # plain bytes: no reader need allocate more for one chunk

CONTENT: Final = 1  # id keyed with the writer's id key: comparable with the previous point
PRIVATE: Final = 2  # id keyed with the run's own key: nobody can test a guess
ENTRIES: Final = 3  # as PRIVATE; holds the entries of the artifacts

_FIXED = struct.Struct(">4sB16s16s32s32sB")
_WRAP = struct.Struct(f">{FINGERPRINT_SIZE}s{WRAP_SIZE}s")
_CHUNK = struct.Struct(">BII")


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the sealed bytes of a pack or a WAL object; wraps by recipient fingerprint."""

    repository: bytes
    run: bytes
    salt: bytes
    commitment: bytes
    wraps: Mapping[bytes, bytes]

    @property
    def size(self) -> int:
        """Length of the encoded head in bytes."""
        return head_size(len(self.wraps))


def head_size(recipients: int) -> int:
    """Return the length of a head with that many wraps, in bytes."""
    return _FIXED.size + recipients * _WRAP.size


MAX_HEAD: Final = head_size(255)


def encode_head(head: Head, magic: bytes = MAGIC) -> bytes:
    """Return head as bytes."""
    fixed = _FIXED.pack(magic, SUITE, head.repository, head.run, head.salt, head.commitment, len(head.wraps))
    return fixed + b"".join(_WRAP.pack(mark, wrap) for mark, wrap in head.wraps.items())


def parse_head(value: bytes, magic: bytes = MAGIC) -> Head:
    """Return the head at the beginning of value. Raises Corrupt."""
    check_head(value, magic)
    if len(value) < _FIXED.size:
        raise Corrupt("a pack is too short to hold its head")
    _, _, repository, run, salt, commitment, count = _FIXED.unpack_from(value)
    if len(value) < head_size(count):
        raise Corrupt("a pack is too short to hold its wrapped keys")
    wraps = dict(_WRAP.unpack_from(value, _FIXED.size + i * _WRAP.size) for i in range(count))
    return Head(repository, run, salt, commitment, wraps)


def wrap_info(repository: bytes, volume: str, run: bytes) -> bytes:
    """Return what HPKE binds beside the recipient: repository, volume and run."""
    encoded = volume.encode()
    return b"drtool/1 wrap\0" + repository + bytes([len(encoded)]) + encoded + run


def wrap_key(key: bytes, recipients: list[Recipient], info: bytes) -> dict[bytes, bytes]:
    """Return key wrapped for each recipient, by fingerprint."""
    return {recipient.fingerprint: recipient.wrap(key, info) for recipient in recipients}


def commitment(key: bytes) -> bytes:
    """Return the 32 bytes that a head says of its key."""
    return derive(key, "commit")


def pack_key(run_key: bytes, salt: bytes) -> bytes:
    """Return the key of the one pack, or WAL object, that has this salt."""
    return derive(run_key, "pack", salt)


def private_id_key(run_key: bytes) -> bytes:
    """Return the key of the ids that only this run can compute."""
    return derive(run_key, "private id")


class ChunkSeal:
    """Seals and unseals the chunks of one pack, under its own key."""

    def __init__(self, key: bytes, salt: bytes, repository: bytes, volume: str) -> None:
        if len(salt) != SALT_SIZE:
            raise ValueError(f"a salt has {SALT_SIZE} bytes, not {len(salt)}")
        encoded = volume.encode()
        self._sealer = Sealer(key)
        self._bound = repository + bytes([len(encoded)]) + encoded + salt

    def seal_into(self, number: int, kind: int, plain_size: int, frame: bytes, target: memoryview) -> None:
        """Write the sealed frame (zstd of the plain bytes) into target: len(frame) + 16 bytes."""
        self._sealer.seal_into(number, frame, self._associated(number, kind, plain_size), target)

    def unseal(
        self, number: int, kind: int, plain_size: int, sealed: bytes | memoryview, limit: int = MAX_CHUNK
    ) -> bytes:
        """Return the plain bytes. Raises Corrupt, also when plain_size is above limit."""
        if not 0 <= plain_size <= limit:
            raise Corrupt(f"a chunk of {plain_size} bytes is not one that drtool writes")
        frame = self._sealer.unseal(number, sealed, self._associated(number, kind, plain_size))
        plain = compress.decompress(frame, plain_size)
        if len(plain) != plain_size:
            raise Corrupt(f"a chunk has {len(plain)} bytes, not {plain_size}")
        return plain

    def _associated(self, number: int, kind: int, plain_size: int) -> bytes:
        return self._bound + _CHUNK.pack(kind, number, plain_size)


def sealed_size(frame: bytes) -> int:
    """Return how many bytes the sealed frame takes in a pack."""
    return len(frame) + TAG_SIZE


def check_id(key: bytes, plain: bytes, expected: bytes) -> None:
    """Return when plain is what its id says. Raises Corrupt."""
    if keyed_id(key, plain) != expected:
        raise Corrupt("a chunk's bytes are not those of its id")
