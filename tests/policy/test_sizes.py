"""Sizes in words."""

import pytest

from drtool.policy.sizes import size


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (32 * 2**20, "32 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_a_size_is_written_in_iec_units(count: int, expected: str) -> None:
    assert size(count) == expected
