"""Times, sizes, rates and durations in words for people: UTC with a relative form, IEC units."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from drtool.errors import UsageError
from drtool.policy.durations import brief_duration, parse_duration
from drtool.policy.moments import to_second
from drtool.policy.sizes import size

NONE: Final = "-"
# What moves a cursor, changes colours or turns the direction of text; written as JSON does, so that JSON stays JSON.
_COMMANDS: Final = {
    code: f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}


def parse_moment(text: str, now: datetime) -> datetime:
    """Return the moment that text names: ISO 8601 with Z or an offset, or `10m ago`. Raises UsageError."""
    if text.endswith(" ago"):
        try:
            return now - parse_duration(text.removesuffix(" ago").replace(" ", "").replace("min", "m"))
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


def when(moment: datetime | None, now: datetime) -> str:
    """Return moment to the second, and how far away it is: 2026-11-25T10:00:00Z (3 min ago)."""
    if moment is None:
        return NONE
    return f"{to_second(moment)} ({relative(moment, now)})"


def relative(moment: datetime, now: datetime) -> str:
    """Return how far moment is from now, in its largest unit: 3 min ago, in 2 h, now."""
    distance = timedelta(seconds=int(abs((now - moment).total_seconds())))
    if not distance:
        return "now"
    told = brief_duration(distance, 1)
    return f"{told} ago" if moment < now else f"in {told}"


def rate(count: float, seconds: float) -> str:
    """Return count bytes in seconds as a rate, or nothing where that says nothing."""
    return f"{size(count / seconds)}/s" if seconds > 0 and count > 0 else NONE


def took(seconds: float) -> str:
    """Return how long something took: 0.8 s, 2 min 30 s."""
    return brief_duration(timedelta(seconds=seconds))


def counted(count: int, word: str) -> str:
    """Return how many things there are, with their name: 1 fault, 2 faults."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return text without what commands a terminal: what a store or a cluster says may be anybody's word."""
    return text.translate(_COMMANDS)
