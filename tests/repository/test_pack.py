"""Packs and heads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt
from drtool.repository.format import compress, pack
from drtool.repository.format.crypto import RecoveryKey, keyed_id

REPOSITORY, RUN, SALT, KEY = b"p" * 16, b"r" * 16, b"s" * 32, b"k" * 32


def head(recipients: int) -> pack.Head:
    wraps = {number.to_bytes(8, "big"): bytes([number]) * 80 for number in range(recipients)}
    return pack.Head(REPOSITORY, RUN, SALT, pack.commitment(KEY), wraps)


def seal(
    key: bytes = KEY, salt: bytes = SALT, repository: bytes = REPOSITORY, volume: str = "v"
) -> pack.ChunkSeal:
    return pack.ChunkSeal(pack.pack_key(key, salt), salt, repository, volume)


def sealed(plain: bytes, number: int = 3, kind: int = pack.CONTENT) -> bytes:
    frame = compress.compress(plain)
    target = bytearray(pack.sealed_size(frame))
    seal().seal_into(number, kind, len(plain), frame, memoryview(target))
    return bytes(target)


@pytest.mark.parametrize("recipients", [0, 1, 2, 255])
def test_a_head_is_read_as_it_was_written_whatever_follows(recipients: int) -> None:
    value = pack.encode_head(head(recipients))
    assert len(value) == head(recipients).size == pack.head_size(recipients)
    assert pack.parse_head(value + b"chunks") == head(recipients)


def test_a_head_that_is_cut_anywhere_is_corrupt() -> None:
    value = pack.encode_head(head(2))
    for end in range(len(value)):
        with pytest.raises(Corrupt, match="too short"):
            pack.parse_head(value[:end])


@given(st.binary(max_size=250))
def test_a_head_of_any_bytes_is_read_or_corrupt(value: bytes) -> None:
    for magic in (b"", b"DRP1\x01"):
        try:
            parsed = pack.parse_head(magic + value)
        except Corrupt:
            continue
        assert len(parsed.wraps) * 88 <= len(value)


def test_a_head_of_another_magic_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="begins with"):
        pack.parse_head(pack.encode_head(head(1)), b"DRW1")


@given(plain=st.binary(max_size=3000), number=st.integers(0, 2**32 - 1), kind=st.sampled_from([1, 2, 3]))
def test_a_chunk_opens_as_it_was(plain: bytes, number: int, kind: int) -> None:
    assert seal().unseal(number, kind, len(plain), sealed(plain, number, kind)) == plain


@pytest.mark.parametrize(
    ("other", "number", "kind", "size"),
    [
        (seal(), 4, 1, 5),
        (seal(), 3, 2, 5),
        (seal(), 3, 1, 6),
        (seal(), 3, 1, -1),
        (seal(), 3, 1, pack.MAX_CHUNK + 1),
        (seal(key=b"x" * 32), 3, 1, 5),
        (seal(salt=b"x" * 32), 3, 1, 5),
        (seal(repository=b"x" * 16), 3, 1, 5),
        (seal(volume="w"), 3, 1, 5),
    ],
    ids=["number", "kind", "size", "negative", "too large", "key", "salt", "repository", "volume"],
)
def test_a_chunk_opens_in_its_own_place_only(
    other: pack.ChunkSeal, number: int, kind: int, size: int
) -> None:
    with pytest.raises(Corrupt):
        other.unseal(number, kind, size, sealed(b"plain"))


def test_a_chunk_whose_writer_lied_about_its_size_is_corrupt() -> None:
    frame = compress.compress(b"plain")
    target = bytearray(pack.sealed_size(frame))
    seal().seal_into(0, 1, 6, frame, memoryview(target))
    with pytest.raises(Corrupt, match="has 5 bytes, not 6"):
        seal().unseal(0, 1, 6, bytes(target))


def test_a_salt_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="not 3"):
        seal(salt=b"abc")


def test_a_chunk_is_held_against_its_id() -> None:
    pack.check_id(KEY, b"plain", keyed_id(KEY, b"plain"))
    with pytest.raises(Corrupt, match="its id"):
        pack.check_id(KEY, b"plain", keyed_id(KEY, b"plane"))


def test_a_run_key_is_wrapped_for_each_recipient_and_bound_to_volume_and_run() -> None:
    keys = [RecoveryKey(bytes([number]) * 32) for number in (1, 2)]
    info = pack.wrap_info(REPOSITORY, "v", RUN)
    wraps = pack.wrap_key(KEY, [key.recipient for key in keys], info)
    for key in keys:
        assert key.unwrap(wraps[key.recipient.fingerprint], info) == KEY
    infos = {info, pack.wrap_info(b"x" * 16, "v", RUN), pack.wrap_info(REPOSITORY, "vr", RUN)}
    infos |= {pack.wrap_info(REPOSITORY, "v", b"x" * 16)}
    assert len(infos) == 4


def test_commitment_and_private_id_key_differ_from_each_other_and_from_the_key() -> None:
    assert len({KEY, pack.commitment(KEY), pack.private_id_key(KEY)}) == 3
