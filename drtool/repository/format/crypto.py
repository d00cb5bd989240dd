"""The one door to cryptography and BLAKE3: derived keys, sealing, key wraps, signatures, ids.

Every function is pure but for the random bytes of `random_bytes` and of HPKE's ephemeral keys.
Sources: RFC 5869 (HKDF), RFC 9180 (HPKE), RFC 8032 (Ed25519), NIST SP 800-38D (GCM), the BLAKE3 paper.
"""

import hashlib
import secrets
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drtool.errors import Corrupt, WrongKey

KEY_SIZE: Final = 32
SALT_SIZE: Final = 32
TAG_SIZE: Final = 16
SIGNATURE_SIZE: Final = 64
WRAP_SIZE: Final = 80  # X25519 encapsulation 32, key 32, tag 16
SUITE: Final = 1  # X25519, HKDF-SHA256, AES-256-GCM, Ed25519: the only one so far

_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def random_bytes(size: int) -> bytes:
    """Return size bytes that nobody can guess."""
    return secrets.token_bytes(size)


def derive(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    """Return 32 bytes derived from key for one purpose: HKDF-SHA256 with info `drtool/1 <purpose>`."""
    info = b"drtool/1 " + purpose.encode()
    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt or None, info=info).derive(key)


def keyed_id(key: bytes, plain: bytes | bytearray | memoryview, size: int = 32) -> bytes:
    """Return the keyed BLAKE3 of plain, its first size bytes: an id that only holders of key can compute or test."""
    return blake3(plain, key=key).digest(size)


def sha256(value: bytes | bytearray | memoryview) -> bytes:
    """Return the 32-byte SHA-256 of value."""
    return hashlib.sha256(value).digest()


class Sealer:
    """AES-256-GCM under one key, with counter nonces: number n is used for one message only."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, number: int, plain: bytes, associated: bytes) -> bytes:
        """Return ciphertext and tag, 16 bytes longer than plain."""
        return self._aead.encrypt(_nonce(number), plain, associated)

    def seal_into(self, number: int, plain: bytes, associated: bytes, target: memoryview) -> None:
        """Write ciphertext and tag into target, which is 16 bytes longer than plain."""
        self._aead.encrypt_into(_nonce(number), plain, associated, target)

    def unseal(self, number: int, sealed: bytes | memoryview, associated: bytes) -> bytes:
        """Return the plain bytes. Raises Corrupt when one bit of anything differs."""
        try:
            return self._aead.decrypt(_nonce(number), sealed, associated)
        except InvalidTag as fault:
            raise Corrupt("sealed bytes do not authenticate") from fault


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


class Recipient:
    """A public X25519 key to which keys are wrapped. Its fingerprint is the first 8 bytes of its SHA-256."""

    def __init__(self, public: bytes) -> None:
        self.public = public
        self.fingerprint = sha256(public)[:8]

    def wrap(self, key: bytes, info: bytes) -> bytes:
        """Return key, wrapped by HPKE for this recipient: 80 bytes. info and the recipient are bound."""
        return _HPKE.encrypt(key, X25519PublicKey.from_public_bytes(self.public), info + self.public)


class RecoveryKey:
    """The private side of a recipient, from the 32-byte seed of a recovery kit. Never printable."""

    def __init__(self, seed: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(derive(seed, "recipient"))
        self.recipient = Recipient(self._private.public_key().public_bytes_raw())

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Return the wrapped key. Raises WrongKey when it was not wrapped for us and this info."""
        try:
            return _HPKE.decrypt(wrapped, self._private, info + self.recipient.public)
        except InvalidTag as fault:
            raise WrongKey("the wrapped key was not made for this recovery key") from fault

    def __repr__(self) -> str:
        return f"RecoveryKey({self.recipient.fingerprint.hex()})"


class SigningKey:
    """An Ed25519 key, from a 32-byte seed. Never printable."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of message."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()[:16]})"


def check_signature(public: bytes, signature: bytes, message: bytes) -> None:
    """Return when signature is public's over message. Raises Corrupt otherwise."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as fault:
        raise Corrupt("the signature does not fit") from fault
