"""What a signed record keeps for the recipients alone: journals of restores name objects, and hold what they replaced.

{"commitment": hex, "wraps": {fingerprint: hex}, "body": base64 of AES-256-GCM( zstd( plain ) ) under number 0}

The key is random and used for this one. Wraps and body bind repository and place; the record's signature covers all.
"""

import struct
from base64 import b64decode, b64encode
from typing import Final

from drtool.errors import Corrupt, Refused, WrongKey
from drtool.repository.config import Config
from drtool.repository.format import compress
from drtool.repository.format.crypto import KEY_SIZE, RecoveryKey, Sealer, derive, random_bytes
from drtool.repository.format.pack import commitment, wrap_key
from drtool.repository.format.record import Json

_PURPOSE: Final = "confidential"
MAX_PLAIN: Final = 64 * 1024 * 1024
MAX_SEALED: Final = 40 * 1024 * 1024  # as base64 it has to fit into a record


def seal_confidential(config: Config, place: str, plain: bytes) -> Json:
    """Return plain sealed to every recipient of config. place is where it stands, and may stand nowhere else.

    Raises Refused for more than can be read back.
    """
    key = random_bytes(KEY_SIZE)
    bound = _bound(config.repository_id, place)
    wraps = wrap_key(key, config.recipient_keys(), bound)
    body = Sealer(derive(key, _PURPOSE)).seal(0, compress.compress(plain), bound)
    if len(plain) > MAX_PLAIN or len(body) > MAX_SEALED:
        raise Refused(
            f"{place}: {len(plain)} bytes are more than a record holds",
            hint="Look at what is so large: the objects of a step are kept together.",
        )
    return {
        "commitment": commitment(key).hex(),
        "wraps": {fingerprint.hex(): wrap.hex() for fingerprint, wrap in wraps.items()},
        "body": b64encode(body).decode(),
    }


def unseal_confidential(sealed: Json, repository: bytes, place: str, recovery: RecoveryKey) -> bytes:
    """Return what seal_confidential sealed. Raises WrongKey for one who was no recipient then, Corrupt."""
    try:
        promised = bytes.fromhex(sealed["commitment"])
        wraps = {bytes.fromhex(mark): bytes.fromhex(wrap) for mark, wrap in sealed["wraps"].items()}
        body = b64decode(sealed["body"], validate=True)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise Corrupt(f"{place}: what is sealed to the recipients is malformed") from fault
    wrap = wraps.get(recovery.recipient.fingerprint)
    if wrap is None:
        raise WrongKey(
            f"{place} was not sealed to this recovery key",
            hint="Its recipient was added after that: use the recovery key of one who was there before.",
        )
    bound = _bound(repository, place)
    try:
        key = recovery.unwrap(wrap, bound)
    except WrongKey as fault:
        raise Corrupt(f"{place}: its wrapped key does not authenticate") from fault
    if commitment(key) != promised:
        raise Corrupt(f"{place}: its key was wrapped differently for this recipient than for the others")
    return compress.decompress(Sealer(derive(key, _PURPOSE)).unseal(0, body, bound), MAX_PLAIN)


def _bound(repository: bytes, place: str) -> bytes:
    name = place.encode()
    return b"drtool/1 confidential\0" + repository + struct.pack(">H", len(name)) + name
