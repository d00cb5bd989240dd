"""Kubernetes' quantities as numbers: 500m, 1.5, 2Gi, 1e3."""

from decimal import Decimal
from typing import Final

_UNITS: Final = {
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Decimal(1000) ** -power for power, unit in enumerate(("m", "u", "n"), 1)},
}


def quantity(text: str | float) -> Decimal:
    """Return the number that a quantity stands for. Kubernetes: apimachinery/pkg/api/resource, Quantity."""
    said = str(text)
    for unit in (said[-2:], said[-1:]):
        if unit in _UNITS:
            return Decimal(said.removesuffix(unit)) * _UNITS[unit]
    return Decimal(said)
