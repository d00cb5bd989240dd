"""The CRC-64 that ends every RDB and every DUMP payload. The one door to anycrc.

Redis: src/crc64.c, the Jones polynomial, reflected, from 0. Over a stream that ends in its own checksum,
least byte first, it is therefore 0.
"""

from typing import cast

from anycrc import Model

_CRC64 = Model("CRC64-REDIS")


def crc64(data: bytes, crc: int = 0) -> int:
    """Return the checksum of data, or of all that crc stands for and data after it."""
    return cast("int", _CRC64.calc(data, crc))
