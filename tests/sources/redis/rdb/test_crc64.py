from drtool.sources.redis.rdb.crc64 import crc64


def test_the_checksum_is_the_one_of_redis() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA  # src/crc64.c, crc64Test


def test_the_checksum_goes_on_where_it_was_left_and_ends_at_0_over_itself() -> None:
    whole = crc64(b"REDIS0011 and more")
    assert crc64(b" and more", crc64(b"REDIS0011")) == whole
    assert crc64(whole.to_bytes(8, "little"), whole) == 0
