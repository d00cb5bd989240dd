"""Rewraps: the admin, with a recovery key at hand, wraps the keys of earlier runs for a recipient added later.

    rewrap/<time>-<sha256>     a public record: {"recipient": public key, "keys": [{commitment, wrap}]}

A wrap binds repository, volume, run and recipient as in a head; the commitment tells whether it is the same key.
"""

from collections.abc import Mapping
from datetime import datetime

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.format.crypto import Recipient, SigningKey, sha256
from drtool.repository.format.names import name_time, split_hash
from drtool.repository.format.record import Json, check_signed, cut_public, pack_public, sign
from drtool.repository.records import Records, Stored, stored_objects

KIND = "rewrap"


def put_rewrap(
    records: Records, admin: SigningKey, recipient: Recipient, wraps: Mapping[str, bytes], now: datetime
) -> str:
    """Store wraps for recipient, by commitment (hex), signed by the admin; return the object's name."""
    prefix = f"{KIND}/{name_time(now)}-"
    value: Json = {
        "recipient": recipient.public.hex(),
        "keys": [{"commitment": commitment, "wrap": wrap.hex()} for commitment, wrap in wraps.items()],
    }
    sealed = pack_public(sign(value, "admin", admin, records.place(prefix)))
    digest = sha256(sealed)
    records.store.put(prefix + digest.hex(), sealed, digest)
    return prefix + digest.hex()


def check_rewrap(records: Records, stored: Stored) -> Json:
    """Return what a rewrap says. Raises Corrupt unless the admin signed it, ObjectMissing."""
    value, _ = records.fetch(stored)
    signed = check_signed(cut_public(value), records.place(split_hash(stored.name)[0]))
    if signed.role != "admin" or signed.signer.hex() != records.config.admin:
        raise Corrupt(f"{stored.name}: signed by a key that is not the admin's")
    return signed.value


def read_rewraps(records: Records, fingerprint: bytes) -> dict[str, bytes]:
    """Return the wraps for that recipient, by commitment; what the admin did not sign is left out."""
    found: dict[str, bytes] = {}
    for stored in stored_objects(records.store, f"{KIND}/"):
        try:
            value = check_rewrap(records, stored)
        except (Corrupt, ObjectMissing):
            continue
        if Recipient(bytes.fromhex(value["recipient"])).fingerprint == fingerprint:
            found |= {row["commitment"]: bytes.fromhex(row["wrap"]) for row in value["keys"]}
    return found
