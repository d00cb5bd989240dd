"""Fixed keys and salts give the bytes that they gave when format 1 was made."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drtool.repository.format import compress, grant, pack, places, record, wal_object
from drtool.repository.format.crypto import RecoveryKey, SigningKey, derive, keyed_id
from drtool.repository.format.text import encode_key, find_keys
from tests.golden import make_vectors as made

VECTORS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text())


def value(name: str, field: str = "is") -> bytes:
    return bytes.fromhex(VECTORS[name][field])


def place(name: str, kind: str) -> record.Place:
    return record.Place(made.REPOSITORY, kind, VECTORS[name]["prefix"])


def test_derived_keys_are_those_of_the_vectors() -> None:
    assert derive(value("derive", "key"), "pack", value("derive", "salt")) == value("derive")
    assert derive(value("derive_unsalted", "key"), "commit") == value("derive_unsalted")


def test_a_recipient_and_its_fingerprint_follow_from_the_seed() -> None:
    recipient = RecoveryKey(value("recipient", "seed")).recipient
    assert recipient.public == value("recipient", "public")
    assert recipient.fingerprint == value("recipient", "fingerprint")


def test_a_key_is_written_and_read_as_its_line() -> None:
    line = VECTORS["text"]["is"]
    assert encode_key("RECOVERY", value("text", "value")) == line
    assert find_keys(f"first: {line}\n") == {"RECOVERY": value("text", "value")}


def test_a_signed_body_is_the_same_byte_for_byte() -> None:
    told = VECTORS["signed_body"]
    where = place("signed_body", "snap")
    assert record.sign(told["json"], told["role"], SigningKey(value("signed_body", "seed")), where) == value(
        "signed_body"
    )
    assert record.check_signed(value("signed_body"), where).value == told["json"]


def test_a_sealed_record_opens() -> None:
    where = place("signed_body", "snap")
    assert record.unseal_record(value("sealed_record"), value("sealed_record", "list_key"), where) == value(
        "signed_body"
    )


def test_a_path_id_and_a_list_are_the_same_byte_for_byte() -> None:
    assert places.path_id(value("path_id", "id_key"), VECTORS["path_id"]["path"]) == value("path_id")
    [row] = places.PlaceList(value("list"))
    assert row.path == value("path_id")
    assert row.id == keyed_id(made.ID_KEY, made.PLAIN)
    assert places.encode([row]) == value("list")


def test_a_wrapped_key_opens() -> None:
    info = pack.wrap_info(made.REPOSITORY, made.VOLUME, made.RUN)
    assert RecoveryKey(made.SEED).unwrap(value("wrap"), info) == value("wrap", "key")


def test_a_head_is_the_same_byte_for_byte() -> None:
    head = pack.parse_head(value("head"))
    assert (head.repository, head.run, head.salt) == (made.REPOSITORY, made.RUN, made.SALT)
    assert head.commitment == pack.commitment(made.RUN_KEY)
    assert pack.encode_head(head) == value("head")


def test_a_chunk_is_sealed_to_the_same_bytes_and_opens() -> None:
    seal = pack.ChunkSeal(pack.pack_key(made.RUN_KEY, made.SALT), made.SALT, made.REPOSITORY, made.VOLUME)
    target = bytearray(len(value("chunk")))
    seal.seal_into(7, pack.CONTENT, len(made.PLAIN), value("chunk", "frame"), memoryview(target))
    assert target == value("chunk")
    assert seal.unseal(7, pack.CONTENT, len(made.PLAIN), value("chunk")) == value("chunk", "plain")
    assert compress.decompress(value("chunk", "frame"), 1000) == value("chunk", "plain")


def test_a_wal_object_opens() -> None:
    told = value("wal_object")
    facts = wal_object.parse_facts(told, made.LIST_KEY, place("wal_object", "wal"))
    info = pack.wrap_info(made.REPOSITORY, made.VOLUME, made.RUN)
    recovery = RecoveryKey(made.SEED)
    key = recovery.unwrap(facts.head.wraps[recovery.recipient.fingerprint], info)
    assert wal_object.unseal(told, facts, pack.pack_key(key, facts.head.salt), made.VOLUME) == value(
        "wal_object", "plain"
    )


def test_a_grant_opens_and_says_what_it_said() -> None:
    told = VECTORS["grant"]
    opened = grant.unseal_grant(value("grant"), RecoveryKey(value("grant", "seed")))
    assert (opened.repository, opened.point) == (made.REPOSITORY, told["point"])
    assert opened.signer == SigningKey(made.SEED).public
    assert asdict(opened.grant) == told["json"] == asdict(made.GRANT)
