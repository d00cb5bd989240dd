"""The one door to cryptography: what is sealed, wrapped or signed opens only as it was made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt, WrongKey
from drtool.repository.format.crypto import (
    WRAP_SIZE,
    Recipient,
    RecoveryKey,
    Sealer,
    SigningKey,
    check_signature,
    derive,
    keyed_id,
    random_bytes,
)

KEY, OTHER = b"k" * 32, b"o" * 32


def test_a_derived_key_differs_by_key_purpose_and_salt() -> None:
    made = {derive(KEY, "a"), derive(OTHER, "a"), derive(KEY, "b"), derive(KEY, "a", b"s" * 32)}
    assert len(made) == 4
    assert {len(key) for key in made} == {32}


def test_a_keyed_id_takes_any_buffer_and_differs_by_key() -> None:
    assert keyed_id(KEY, b"x") == keyed_id(KEY, bytearray(b"x")) == keyed_id(KEY, memoryview(b"x"))
    assert keyed_id(KEY, b"x") != keyed_id(OTHER, b"x")


@given(plain=st.binary(max_size=200), number=st.integers(0, 2**32 - 1), bound=st.binary(max_size=40))
def test_sealed_bytes_open_as_they_were(plain: bytes, number: int, bound: bytes) -> None:
    sealed = Sealer(KEY).seal(number, plain, bound)
    assert Sealer(KEY).unseal(number, memoryview(sealed), bound) == plain
    target = bytearray(len(plain) + 16)
    Sealer(KEY).seal_into(number, plain, bound, memoryview(target))
    assert target == sealed


SEALED = Sealer(KEY).seal(1, b"plain bytes", b"b")


@pytest.mark.parametrize(
    ("key", "number", "bound", "sealed"),
    [
        pytest.param(OTHER, 1, b"b", SEALED, id="key"),
        pytest.param(KEY, 2, b"b", SEALED, id="number"),
        pytest.param(KEY, 1, b"c", SEALED, id="bound"),
        pytest.param(KEY, 1, b"b", SEALED[:-1], id="cut"),
        pytest.param(KEY, 1, b"b", SEALED[:3], id="less than a tag"),
        pytest.param(KEY, 1, b"b", b"", id="nothing"),
        pytest.param(KEY, 1, b"b", bytes([SEALED[0] ^ 1]) + SEALED[1:], id="first bit"),
        pytest.param(KEY, 1, b"b", SEALED[:-1] + bytes([SEALED[-1] ^ 128]), id="last bit"),
    ],
)
def test_sealed_bytes_with_anything_changed_do_not_open(
    key: bytes, number: int, bound: bytes, sealed: bytes
) -> None:
    with pytest.raises(Corrupt, match="authenticate"):
        Sealer(key).unseal(number, sealed, bound)


def test_a_wrapped_key_opens_for_its_recipient_and_info_only() -> None:
    recovery, stranger = RecoveryKey(KEY), RecoveryKey(OTHER)
    wrapped = recovery.recipient.wrap(b"r" * 32, b"info")
    assert len(wrapped) == WRAP_SIZE
    assert recovery.unwrap(wrapped, b"info") == b"r" * 32
    for key, value, info in [
        (stranger, wrapped, b"info"),
        (recovery, wrapped, b"other"),
        (recovery, wrapped[:-1], b"info"),
        (recovery, b"", b"info"),
        (recovery, bytes(WRAP_SIZE), b"info"),
    ]:
        with pytest.raises(WrongKey, match="not made for this recovery key"):
            key.unwrap(value, info)


def test_a_signature_fits_its_key_and_message_only() -> None:
    key = SigningKey(KEY)
    signature = key.sign(b"message")
    check_signature(key.public, signature, b"message")
    for public, signed, text in [
        (SigningKey(OTHER).public, signature, b"message"),
        (key.public, signature, b"massage"),
        (key.public, bytes(64), b"message"),
        (b"short", signature, b"message"),
    ]:
        with pytest.raises(Corrupt, match="signature"):
            check_signature(public, signed, text)


def test_no_secret_is_printed() -> None:
    recovery, signing = RecoveryKey(KEY), SigningKey(KEY)
    for shown in (repr(recovery), str(signing), f"{[recovery, signing]}"):
        assert KEY.hex() not in shown
        assert "kkkk" not in shown


def test_a_fingerprint_is_of_the_public_key() -> None:
    recipient = RecoveryKey(KEY).recipient
    assert Recipient(recipient.public).fingerprint == recipient.fingerprint
    assert len(recipient.fingerprint) == 8


def test_random_bytes_differ() -> None:
    assert random_bytes(16) != random_bytes(16)
