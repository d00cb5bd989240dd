"""Durations as people write them in a policy, 15m or 1d12h, to timedelta and back, and as they are told: 1 d 12 h."""

import re
from collections.abc import Mapping
from datetime import timedelta

DURATION = r"(\d{1,6}d)?(\d{1,6}h)?(\d{1,6}m)?(\d{1,6}s)?(\d{1,6}ms)?"

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_TOLD = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "min": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_TENTH = timedelta(milliseconds=100)


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
    return "".join(f"{count}{unit}" for count, unit in _counts(duration, _UNITS)) or "0s"


def brief_duration(duration: timedelta, most_units: int = 2) -> str:
    """Return duration for people, in its largest units: 1 h 3 min, 2 min 5 s, 3.5 s, 40 ms.

    The rest is cut off; seconds have a decimal below a minute. A negative one has a minus sign.
    """
    if duration < timedelta(0):
        return f"-{brief_duration(-duration, most_units)}"
    if duration < _TENTH:
        return f"{duration // _UNITS['ms']} ms" if duration >= _UNITS["ms"] else "0 s"
    if duration < _TOLD["min"]:
        return f"{duration // _TENTH / 10:g} s"
    return " ".join(f"{count} {unit}" for count, unit in _counts(duration, _TOLD)[:most_units])


def _counts(duration: timedelta, units: Mapping[str, timedelta]) -> list[tuple[int, str]]:
    """Return how many of each unit duration has, the largest first; none that it has not."""
    counts: list[tuple[int, str]] = []
    for unit, length in units.items():
        count, duration = divmod(duration, length)
        if count:
            counts.append((count, unit))
    return counts
