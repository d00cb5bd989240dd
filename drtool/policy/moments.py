"""Moments as drtool tells them everywhere: ISO 8601 in UTC, which `--at` takes back."""

from datetime import UTC, datetime


def exact(moment: datetime) -> str:
    """Return moment with as many digits as it has: 2026-11-25T10:00:00.123456Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_second(moment: datetime) -> str:
    """Return moment without what is below a second: 2026-11-25T10:00:00Z."""
    return exact(moment.replace(microsecond=0))
