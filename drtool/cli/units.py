"""Times, sizes, rates and durations in words for people: UTC with a relative form, IEC units."""

import re
from collections.abc import Sized
from datetime import UTC, datetime, timedelta
from typing import Final

from drtool.errors import UsageError
from drtool.policy.durations import brief_duration, parse_duration

NONE: Final = "-"
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_KIB: Final = 1024
_TWO_DIGITS: Final = 10  # from here on a size needs no decimal
_MINUTE_S: Final = 60


def parse_moment(text: str, now: datetime) -> datetime:
    """Return the moment that text names: ISO 8601 with Z or an offset, or `10m ago`. Raises UsageError."""
    if text.endswith(" ago"):
        try:
            return now - parse_duration(text.removesuffix(" ago").replace(" ", ""))
        except (ValueError, OverflowError) as fault:
            raise _no_moment(text) from fault
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC") + "Z" if text.endswith(" UTC") else text)
    except ValueError as fault:
        raise _no_moment(text) from fault
    if moment.tzinfo is None:
        zone = "T00:00:00Z" if re.fullmatch(r"[\d-]+", text) else "Z"
        raise UsageError(
            f"the time {text} has no time zone",
            hint=f"Write {text}{zone} for UTC, or an offset as in +02:00.",
        )
    return moment.astimezone(UTC)


def _no_moment(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no time", hint="Write 2026-11-25T10:00:00Z, 2026-11-25T12:00:00+02:00 or 10m ago."
    )


def exact(moment: datetime) -> str:
    """Return moment in UTC as ISO 8601, with as many digits as it has: what `--at` takes back."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def when(moment: datetime | None, now: datetime) -> str:
    """Return moment to the second, and how far away it is: 2026-11-25T10:00:00Z (3 min ago)."""
    if moment is None:
        return NONE
    return f"{exact(moment.replace(microsecond=0))} ({relative(moment, now)})"


def relative(moment: datetime, now: datetime) -> str:
    """Return how far moment is from now, in its largest unit: 3 min ago, in 2 h, now."""
    seconds = int(abs((now - moment).total_seconds()))
    for length, unit in _STEPS:
        if seconds >= length:
            distance = f"{seconds // length} {unit}"
            return f"{distance} ago" if moment < now else f"in {distance}"
    return "now"


def size(count: float) -> str:
    """Return count bytes in IEC units: 512 B, 1.5 KiB, 32 MiB."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= _TWO_DIGITS else f"{value:.1f} {unit}"


def rate(count: float, seconds: float) -> str:
    """Return count bytes in seconds as a rate, or nothing where that says nothing."""
    return f"{size(count / seconds)}/s" if seconds > 0 and count > 0 else NONE


def took(seconds: float) -> str:
    """Return how long something took: 0.8 s, 2m30s."""
    return f"{seconds:.1f} s" if seconds < _MINUTE_S else brief_duration(timedelta(seconds=round(seconds)))


def counted(things: Sized, word: str) -> str:
    """Return how many things there are, with their name: 1 fault, 2 faults."""
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"
