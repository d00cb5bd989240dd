"""Signed bodies and their containers: nothing that was not signed in this very place counts."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt
from drtool.repository.format import record
from drtool.repository.format.crypto import SigningKey
from drtool.repository.format.record import Place

KEY, LIST_KEY = SigningKey(b"k" * 32), b"l" * 32
PLACE = Place(b"r" * 16, "snap", "snap/v/t-")
BODY = record.sign({"a": 1, "ü": "ß"}, "writer", KEY, PLACE)
SEALED = record.seal_record(BODY, LIST_KEY, PLACE)
ELSEWHERE = [
    Place(b"q" * 16, "snap", "snap/v/t-"),
    Place(b"r" * 16, "part", "snap/v/t-"),
    Place(b"r" * 16, "snap", "snap/w/t-"),
]


def signed_text(text: bytes, role: str = "writer") -> bytes:
    message = b"drtool/1 signature\0" + PLACE.repository
    for word in (b"snap", b"snap/v/t-", role.encode()):
        message += struct.pack(">H", len(word)) + word
    return struct.pack(">I", len(text)) + text + KEY.public + KEY.sign(message + text)


def test_a_signed_body_says_what_was_signed_and_by_whom() -> None:
    signed = record.check_signed(BODY, PLACE)
    assert signed == record.Signed({"a": 1, "ü": "ß"}, "writer", KEY.public)
    assert record.peek_json(BODY) == {"role": "writer", "a": 1, "ü": "ß"}


def test_a_body_is_kept_byte_for_byte_as_signed() -> None:
    text = b'{ "role" : "writer",\n "b": 2 }'
    assert record.check_signed(signed_text(text), PLACE).value == {"b": 2}


@pytest.mark.parametrize("place", ELSEWHERE, ids=["repository", "kind", "prefix"])
def test_a_record_does_not_count_in_another_place(place: Place) -> None:
    with pytest.raises(Corrupt, match="signature"):
        record.check_signed(BODY, place)
    with pytest.raises(Corrupt, match="authenticate"):
        record.unseal_record(SEALED, LIST_KEY, place)


def test_every_flipped_byte_of_a_body_or_a_record_is_found() -> None:
    for at in range(len(BODY)):
        with pytest.raises(Corrupt):
            record.check_signed(BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :], PLACE)
    for at in range(len(SEALED)):
        with pytest.raises(Corrupt):
            record.unseal_record(SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :], LIST_KEY, PLACE)


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"role":5}',
        b'{"role":""}',
        b'{"role":"\\ud800"}',
        json.dumps({"role": "w" * 70_000}).encode(),
        b'{"role":"writer","n":' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_of_another_form_is_corrupt_though_its_signature_may_fit(text: bytes) -> None:
    with pytest.raises(Corrupt):
        record.check_signed(signed_text(text), PLACE)


@given(st.binary(max_size=300))
def test_any_other_bytes_are_corrupt_and_nothing_else_is_raised(value: bytes) -> None:
    head = struct.pack(">I", max(0, len(value) - 96))
    for body in (value, head + value):
        with pytest.raises(Corrupt):
            record.check_signed(body, PLACE)
        with pytest.raises(Corrupt):
            record.peek_json(body)
    for start in (b"", b"DRR1\x01", b"DRR1"):
        with pytest.raises(Corrupt):
            record.unseal_record(start + value, LIST_KEY, PLACE)


def test_a_sealed_record_opens_under_its_key_only_and_each_has_a_salt_of_its_own() -> None:
    assert record.unseal_record(SEALED, LIST_KEY, PLACE) == BODY
    assert record.seal_record(BODY, LIST_KEY, PLACE) != SEALED
    assert record.seal_record(BODY, LIST_KEY, PLACE, b"s" * 32) == record.seal_record(
        BODY, LIST_KEY, PLACE, b"s" * 32
    )
    with pytest.raises(Corrupt):
        record.unseal_record(SEALED, b"m" * 32, PLACE)


def test_a_public_record_gives_its_body_back() -> None:
    public = record.pack_public(BODY)
    assert record.cut_public(public) == BODY
    for damaged in (b"", b"DRC", b"DRX1" + public[4:], SEALED):
        with pytest.raises(Corrupt):
            record.cut_public(damaged)


def test_a_suite_of_the_future_is_named_with_what_to_do() -> None:
    with pytest.raises(Corrupt, match="suite 2") as caught:
        record.cut_public(b"DRC1\x02" + BODY)
    assert "newer drtool" in caught.value.hint
