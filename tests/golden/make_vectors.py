"""Made vectors.json, once: what each primitive of FORMAT.md gives for fixed keys and salts.

python -m tests.golden.make_vectors
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drtool.repository.format import compress, grant, pack, places, record, wal_object
from drtool.repository.format.crypto import Recipient, RecoveryKey, SigningKey, derive, keyed_id
from drtool.repository.format.text import encode_key

REPOSITORY, RUN, SALT, SEED = bytes(range(16)), b"r" * 16, b"s" * 32, b"k" * 32
LIST_KEY, ID_KEY, RUN_KEY = b"l" * 32, b"i" * 32, b"u" * 32
VOLUME = "postgres"
PREFIX = "snap/postgres/20260302T080000.000000Z-"
PLAIN = b"forty-two bytes of plain text, more or less"
VALUE = {"volume": VOLUME, "umlaut": "ä", "list": [1, None, True]}

POINT = PREFIX + "cd" * 32
GRANT = grant.Grant(
    admin="ad" * 32,
    made="2026-03-02T08:00:00.000000Z",
    objects={POINT: [[None, "2026-03-02T08:00:00.000000Z", 123]]},
    records={SALT.hex(): record.record_key(LIST_KEY, "snap", SALT).hex()},
    packs={SALT.hex(): pack.pack_key(RUN_KEY, SALT).hex()},
    private_ids={pack.commitment(RUN_KEY).hex(): pack.private_id_key(RUN_KEY).hex()},
    id_keys=[ID_KEY.hex()],
    told={"at": None},
)


def make() -> dict[str, Any]:
    """Return the vectors. Bytes are hex; what holds an HPKE wrap or a zstd frame differs from run to run or library."""
    recipient, signing = RecoveryKey(SEED).recipient, SigningKey(SEED)
    place = record.Place(REPOSITORY, "snap", PREFIX)
    body = record.sign(VALUE, "writer", signing, place)
    frame = compress.compress(PLAIN)
    row = places.Place(
        places.path_id(ID_KEY, "a/b"),
        131_072,
        places.PackRef("2026W10/" + "ab" * 32, RUN),
        190,
        len(frame) + 16,
        len(PLAIN),
        7,
        pack.CONTENT,
        keyed_id(ID_KEY, PLAIN),
    )
    return {
        "derive": {
            "key": SEED.hex(),
            "purpose": "pack",
            "salt": SALT.hex(),
            "is": derive(SEED, "pack", SALT).hex(),
        },
        "derive_unsalted": {"key": SEED.hex(), "purpose": "commit", "is": derive(SEED, "commit").hex()},
        "recipient": {
            "seed": SEED.hex(),
            "public": recipient.public.hex(),
            "fingerprint": recipient.fingerprint.hex(),
        },
        "text": {"kind": "RECOVERY", "value": (SEED + RUN).hex(), "is": encode_key("RECOVERY", SEED + RUN)},
        "signed_body": {
            "json": VALUE,
            "role": "writer",
            "seed": SEED.hex(),
            "prefix": PREFIX,
            "is": body.hex(),
        },
        "sealed_record": {
            "list_key": LIST_KEY.hex(),
            "is": record.seal_record(body, LIST_KEY, place, SALT).hex(),
        },
        "path_id": {"id_key": ID_KEY.hex(), "path": "a/b", "is": row.path.hex()},
        "list": {"is": places.encode([row]).hex()},
        "wrap": {"key": RUN_KEY.hex(), "is": recipient.wrap(RUN_KEY, _info()).hex()},
        "head": {"is": pack.encode_head(_head(recipient)).hex()},
        "chunk": {"frame": frame.hex(), "plain": PLAIN.hex(), "number": 7, "is": _chunk(frame).hex()},
        "wal_object": {
            "plain": PLAIN.hex(),
            "prefix": _wal_place().prefix,
            "is": _wal(recipient, signing).hex(),
        },
        "grant": {
            "seed": SEED.hex(),
            "point": POINT,
            "json": asdict(GRANT),
            "is": grant.seal_grant(GRANT, (REPOSITORY, POINT), signing, recipient).hex(),
        },
    }


def _info() -> bytes:
    return pack.wrap_info(REPOSITORY, VOLUME, RUN)


def _head(recipient: Recipient) -> pack.Head:
    wraps = {recipient.fingerprint: b"w" * 80, b"another!": b"x" * 80}
    return pack.Head(REPOSITORY, RUN, SALT, pack.commitment(RUN_KEY), wraps)


def _chunk(frame: bytes) -> bytes:
    target = bytearray(len(frame) + 16)
    seal = pack.ChunkSeal(pack.pack_key(RUN_KEY, SALT), SALT, REPOSITORY, VOLUME)
    seal.seal_into(7, pack.CONTENT, len(PLAIN), frame, memoryview(target))
    return bytes(target)


def _wal_place() -> record.Place:
    return record.Place(REPOSITORY, "wal", f"wal/{VOLUME}/7-17-1/00000001/000000010000000000000001-")


def _wal(recipient: Recipient, signing: SigningKey) -> bytes:
    facts = {"system": "7", "major": 17, "epoch": 1, "id": keyed_id(ID_KEY, PLAIN).hex()}
    keys = wal_object.WalKeys(LIST_KEY, signing, [recipient])
    return wal_object.encode(PLAIN, facts, keys, _wal_place(), VOLUME, RUN)


if __name__ == "__main__":
    Path(__file__).with_name("vectors.json").write_text(
        json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
    )
