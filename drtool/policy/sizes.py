"""Sizes in words for people: IEC units."""

from typing import Final

_KIB: Final = 1024
_TWO_DIGITS: Final = 10  # from here on a size needs no decimal


def size(count: float) -> str:
    """Return count bytes in IEC units: 512 B, 1.5 KiB, 32 MiB."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= _TWO_DIGITS else f"{value:.1f} {unit}"
