"""Durations as people write them in a policy, 15m or 1d12h, to timedelta and back."""

import re
from datetime import timedelta

DURATION = r"(\d{1,6}d)?(\d{1,6}h)?(\d{1,6}m)?(\d{1,6}s)?(\d{1,6}ms)?"

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def parse_duration(text: str) -> timedelta:
    """Return the duration that text writes: whole numbers with the units d, h, m, s, ms, the largest first.

    Raises ValueError, which does not repeat text, if it is anything else.
    """
    if not text or re.fullmatch(DURATION, text, re.ASCII) is None:
        raise ValueError("is not a duration")
    parts = re.findall(r"(\d+)(ms|[dhms])", text)
    return sum((int(number) * _UNITS[unit] for number, unit in parts), timedelta(0))


def format_duration(duration: timedelta) -> str:
    """Return duration as `parse_duration` reads it, exact to the millisecond; zero is 0s. Not for negative ones."""
    return _write(duration, len(_UNITS))


def brief_duration(duration: timedelta) -> str:
    """Return duration for people: its two largest units, the rest cut off, with a minus sign where it is negative."""
    return f"-{_write(-duration, 2)}" if duration < timedelta(0) else _write(duration, 2)


def _write(duration: timedelta, most_units: int) -> str:
    written: list[str] = []
    for unit, length in _UNITS.items():
        count, duration = divmod(duration, length)
        if count:
            written.append(f"{count}{unit}")
    return "".join(written[:most_units]) or "0s"
