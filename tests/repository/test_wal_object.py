"""WAL objects: readable facts before sealed bytes, all of it signed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drtool.errors import Corrupt, WrongKey
from drtool.repository.format import compress, wal_object
from drtool.repository.format.crypto import RecoveryKey, Sealer, SigningKey, sha256
from drtool.repository.format.pack import MAX_CHUNK, encode_head, pack_key, wrap_info
from drtool.repository.format.record import Json, Place, record_key, sign

RECOVERY = [RecoveryKey(bytes([number]) * 32) for number in (1, 2)]
KEYS = wal_object.WalKeys(b"l" * 32, SigningKey(b"k" * 32), [key.recipient for key in RECOVERY])
PLACE = Place(b"p" * 16, "wal", "wal/v/7-17-1/00000001/000000010000000000000001-")
RUN = b"r" * 16


def encode(plain: bytes) -> bytes:
    return wal_object.encode(plain, {"flush": "0/1", "id": "x"}, KEYS, PLACE, "v", RUN)


VALUE = encode(b"some WAL" * 20)


def object_key(facts: wal_object.WalFacts, key: RecoveryKey = RECOVERY[0]) -> bytes:
    wrap = facts.head.wraps.get(key.recipient.fingerprint, b"")
    return pack_key(key.unwrap(wrap, wrap_info(PLACE.repository, "v", facts.head.run)), facts.head.salt)


def read(value: bytes, place: Place = PLACE, volume: str = "v") -> bytes:
    facts = wal_object.parse_facts(value, KEYS.list_key, place)
    return wal_object.unseal(value, facts, object_key(facts), volume)


def forge(changes: Json) -> bytes:
    """Return VALUE with other facts, signed and sealed as a writer that was taken over would."""
    facts = wal_object.parse_facts(VALUE, KEYS.list_key, PLACE)
    told = {name: value for name, value in (facts.signed.value | changes).items() if value is not None}
    signed = sign(told, "writer", KEYS.signing, PLACE)
    sealer = Sealer(record_key(KEYS.list_key, "wal", facts.head.salt))
    sealed = sealer.seal(0, compress.compress(signed), PLACE.repository + PLACE.prefix.encode())
    return (
        encode_head(facts.head, b"DRW1") + len(sealed).to_bytes(4, "big") + sealed + VALUE[facts.body_start :]
    )


@settings(max_examples=25)
@given(st.binary(max_size=500))
def test_wal_is_read_as_it_was_written_by_each_recipient(plain: bytes) -> None:
    value = encode(plain)
    facts = wal_object.parse_facts(value, KEYS.list_key, PLACE)
    assert facts.signed.value["size"] == len(plain)
    assert facts.signed.value["body"] == sha256(value[facts.body_start :]).hex()
    for key in RECOVERY:
        assert wal_object.unseal(value, facts, object_key(facts, key), "v") == plain


def test_a_segment_larger_than_any_chunk_is_read_again() -> None:
    plain = bytes(MAX_CHUNK + 1)
    assert read(encode(plain)) == plain


def test_the_facts_are_read_from_the_beginning_alone() -> None:
    facts = wal_object.parse_facts(VALUE, KEYS.list_key, PLACE)
    assert wal_object.parse_facts(VALUE[: facts.body_start], KEYS.list_key, PLACE) == facts


def test_each_object_has_a_key_of_its_own() -> None:
    facts = [
        wal_object.parse_facts(value, KEYS.list_key, PLACE) for value in (VALUE, encode(b"some WAL" * 20))
    ]
    assert object_key(facts[0]) != object_key(facts[1])


def test_every_flipped_byte_is_found_but_in_the_wrap_of_another_recipient() -> None:
    facts = wal_object.parse_facts(VALUE, KEYS.list_key, PLACE)
    others = range(facts.head.size - 88, facts.head.size)
    for at in range(len(VALUE)):
        value = VALUE[:at] + bytes([VALUE[at] ^ 1]) + VALUE[at + 1 :]
        if at in others:
            assert read(value) == read(VALUE)
            continue
        with pytest.raises((Corrupt, WrongKey)):
            read(value)


def test_a_cut_object_is_corrupt_wherever_it_is_cut() -> None:
    for end in range(len(VALUE)):
        with pytest.raises(Corrupt):
            read(VALUE[:end])


@pytest.mark.parametrize(
    "place",
    [
        Place(b"q" * 16, "wal", PLACE.prefix),
        Place(PLACE.repository, "tail", PLACE.prefix),
        Place(PLACE.repository, "wal", PLACE.prefix.replace("v/7", "w/7")),
    ],
    ids=["repository", "kind", "name"],
)
def test_an_object_does_not_count_in_another_place(place: Place) -> None:
    with pytest.raises(Corrupt):
        read(VALUE, place)


def test_an_object_of_another_volume_does_not_open() -> None:
    with pytest.raises(Corrupt):
        read(VALUE, volume="w")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"size": None}, "no size"),
        ({"size": "8"}, "no size"),
        ({"size": -1}, "is not one that drtool writes"),
        ({"size": 2**40}, "is not one that drtool writes"),
        ({"size": 7}, "authenticate"),
        ({"body": "00" * 32}, "not those that were signed"),
        ({"commitment": "00" * 32}, "name different keys"),
    ],
)
def test_signed_facts_that_lie_are_corrupt(changes: Json, fault: str) -> None:
    with pytest.raises(Corrupt, match=fault):
        read(forge(changes))


def test_another_key_opens_nothing() -> None:
    facts = wal_object.parse_facts(VALUE, KEYS.list_key, PLACE)
    with pytest.raises(Corrupt, match="do not authenticate"):
        wal_object.unseal(VALUE, facts, b"x" * 32, "v")


def test_facts_that_claim_to_be_huge_are_refused() -> None:
    facts = wal_object.parse_facts(VALUE, KEYS.list_key, PLACE)
    at = facts.head.size
    with pytest.raises(Corrupt, match="facts of a WAL object are cut short"):
        read(VALUE[:at] + b"\xff" * 4 + VALUE[at + 4 :])


@given(st.binary(max_size=400))
def test_any_other_bytes_are_corrupt(value: bytes) -> None:
    for start in (b"", VALUE[:102], VALUE[:300]):
        with pytest.raises(Corrupt):
            wal_object.parse_facts(start + value, KEYS.list_key, PLACE)
