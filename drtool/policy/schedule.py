"""Calendars: when runs are due, which were missed, and how far apart they can lie. The one door of croniter."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from drtool.policy.durations import brief_duration

COUNT_LIMIT = 1000  # after years of outage the exact number of missed runs helps nobody

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_ANALYSED_FROM = datetime(2024, 1, 1)  # noqa: DTZ001 - wall time
_ANALYSED_SPAN = timedelta(
    days=1600
)  # more than four years, so that a leap year's February is seen on both sides
_FIELD = re.compile(r"[0-9A-Za-z*/,#?-]+")


def check_cron(line: str) -> str:
    """Return line if it has five fields that some moment fits. Raises ValueError, which says what is wrong."""
    fields = line.split()
    if len(fields) != 5:  # noqa: PLR2004 - minute, hour, day, month, weekday
        raise ValueError(f"a cron line has five fields, this one {len(fields)}")
    # croniter takes R (a random value) and H (a hash) for a field: chance has no place in a schedule.
    if not all(_FIELD.fullmatch(field) and not re.match("[RrHh]", field) for field in fields):
        raise ValueError("is not a cron line")
    try:
        _matches(line, _ANALYSED_FROM).get_next(datetime)
    except ValueError as error:  # croniter's errors are among them
        raise ValueError(f"is not a cron line: {str(error).strip('.')}") from None
    return line


def check_time_zone(name: str) -> str:
    """Return name if it is a time zone of the IANA database. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone") from None
    return name


class Schedule(Protocol):
    """The planned starts of one volume's runs.

    What is due follows from the calendar, never from when the last run ended, so a late run does not push later ones.
    """

    def next(self, after: datetime) -> datetime:
        """Return the first planned start later than after, UTC."""
        ...

    def longest_gap(self) -> timedelta:
        """Return how far apart two planned starts can lie, at most."""
        ...

    def missed(self, since: datetime, now: datetime) -> int:
        """Return how many starts were planned in (since, now]; COUNT_LIMIT stands for that many or more."""
        ...

    def due(self, last_start: datetime | None, now: datetime) -> bool:
        """Return whether a run should begin now, the last one having begun at last_start, None if there was none.

        A last start that lies further ahead than the next planned one is nonsense of a clock, and counts as none:
        else one wrong date would silence the backups.
        """
        if last_start is None or last_start > self.next(now):
            return True
        return self.next(last_start) <= now


@dataclass(frozen=True, slots=True)
class Every(Schedule):
    """A start every interval, on a grid that begins at the Unix epoch: a daily run is at midnight UTC."""

    interval: timedelta

    def __str__(self) -> str:
        return f"every {brief_duration(self.interval)}"

    def next(self, after: datetime) -> datetime:
        """Return the first moment of the grid later than after."""
        return _EPOCH + ((after - _EPOCH) // self.interval + 1) * self.interval

    def longest_gap(self) -> timedelta:
        """Return the interval."""
        return self.interval

    def missed(self, since: datetime, now: datetime) -> int:
        """Return how many moments of the grid lie in (since, now]."""
        count = (now - _EPOCH) // self.interval - (since - _EPOCH) // self.interval
        return max(0, min(count, COUNT_LIMIT))


@dataclass(frozen=True, slots=True)
class Cron(Schedule):
    """The starts of a five-field cron line in a time zone.

    A time that the clock skips in spring happens at the skip; the hour that it repeats in autumn has its starts twice.
    So a change of the clock never widens a gap of less than an hour, and one backup too many does no harm.
    """

    line: str
    time_zone: str = "UTC"

    def __str__(self) -> str:
        return f"{self.line} ({self.time_zone})"

    def next(self, after: datetime) -> datetime:
        """Return the first planned start later than after."""
        after = after.astimezone(UTC)
        offset = self._offset(after)
        start = self._first(after, offset)
        if self._offset(start) == offset:
            return start
        change = self._change(after, start)
        new_offset = self._offset(change)
        if start + offset < change + new_offset:
            return change
        return self._first(change - _SECOND, new_offset)

    def missed(self, since: datetime, now: datetime) -> int:
        """Return how many starts lie in (since, now], found one by one up to COUNT_LIMIT."""
        count = 0
        while count < COUNT_LIMIT and (since := self.next(since)) <= now:
            count += 1
        return count

    def longest_gap(self) -> timedelta:
        """Return the longest gap by the wall clock over more than a year, and what the clock's change adds to it."""
        gap = _longest_wall_gap(self.line)
        change = self._largest_change()
        return gap + change if gap > change else gap

    def _first(self, after: datetime, offset: timedelta) -> datetime:
        """Return the first match later than after, on a clock that always keeps offset from UTC."""
        wall = (after + offset).replace(tzinfo=None)
        match: datetime = _matches(self.line, wall).get_next(datetime)
        return match.replace(tzinfo=UTC) - offset

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(ZoneInfo(self.time_zone)).utcoffset() or timedelta(0)

    def _change(self, before: datetime, after: datetime) -> datetime:
        """Return the second at which the clock leaves the offset that it has at before; it has another at after."""
        while after - before > _SECOND:
            middle = before + (after - before) // 2
            if self._offset(middle) == self._offset(before):
                before = middle
            else:
                after = middle
        return after.replace(microsecond=0)

    def _largest_change(self) -> timedelta:
        first = _ANALYSED_FROM.replace(tzinfo=UTC)
        offsets = [self._offset(first + day * _DAY) for day in range(_ANALYSED_SPAN.days)]
        return max(offsets) - min(offsets)


def _matches(line: str, after: datetime) -> Any:
    """Return croniter's matches of line later than after. It is loaded here: to load it runs the program `file`."""
    from croniter import croniter  # noqa: PLC0415 - and most policies have no calendar

    return croniter(line, after)


def _wall_times(line: str, span: timedelta, *, at_least: int) -> list[datetime]:
    """Return the wall times that line matches in the analysed span, and more until there are at_least."""
    matches = _matches(line, _ANALYSED_FROM - _SECOND)
    found: list[datetime] = []
    while (match := matches.get_next(datetime)) < _ANALYSED_FROM + span or len(found) < at_least:
        found.append(match)
    return found


@lru_cache(maxsize=256)  # asked again for each figure of a policy, and it takes a tenth of a second
def _longest_wall_gap(line: str) -> timedelta:
    minute, hour, *days = line.split()
    times = _wall_times(f"{minute} {hour} * * *", _DAY, at_least=1)
    dates = _wall_times(f"0 0 {' '.join(days)}", _ANALYSED_SPAN, at_least=2)
    overnight = max(after - before for before, after in pairwise(dates)) - (times[-1] - times[0])
    return max([overnight, *(after - before for before, after in pairwise(times))])
