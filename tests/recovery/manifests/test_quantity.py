"""Kubernetes' quantities."""

from decimal import Decimal

import pytest

from drtool.recovery.manifests.quantity import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        ("1.5Gi", "1610612736"),
        ("1e3", "1000"),
        ("10k", "10000"),
        (3, "3"),
        ("1E", "1e18"),
    ],
)
def test_a_quantity_is_a_number(text: str | int, number: str) -> None:
    assert quantity(text) == Decimal(number)
