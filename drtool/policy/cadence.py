"""How often each volume is captured, and the worst exposure that follows, with the arithmetic in words."""

from dataclasses import dataclass
from datetime import timedelta

from drtool.policy.durations import brief_duration
from drtool.policy.schedule import Cron, Every, Schedule
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, Volume

SHARE = 10  # a tenth of the RPO: a run's duration until one is measured, and how often WAL is shipped
BASE_BACKUP_EVERY = timedelta(days=1)

# Intervals that divide an hour or a day, so that runs stand at the same minutes on every day.
_ROUND = [
    *(timedelta(seconds=seconds) for seconds in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(timedelta(minutes=minutes) for minutes in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(timedelta(hours=hours) for hours in (1, 2, 3, 4, 6, 8, 12)),
]


@dataclass(frozen=True, slots=True)
class Cadence:
    """When one volume's runs begin, and what may be lost in the worst case: interval + jitter + duration.

    interval is what governs exposure: the longest gap of schedule, or for PostgreSQL how often WAL becomes durable.
    duration is from capture to durable; is_measured tells it from an assumption.
    """

    schedule: Schedule
    rpo: timedelta
    interval: timedelta
    jitter: timedelta
    duration: timedelta
    is_measured: bool

    @property
    def worst_exposure(self) -> timedelta:
        """What a disaster at the worst moment loses while every run succeeds."""
        return self.interval + self.jitter + self.duration

    @property
    def after_one_failure(self) -> timedelta:
        """The same when one run fails."""
        return self.worst_exposure + self.interval

    @property
    def meets_rpo(self) -> bool:
        """Whether the RPO can be met at all."""
        return self.worst_exposure <= self.rpo

    @property
    def survives_a_failure(self) -> bool:
        """Whether the RPO is still met when one run fails."""
        return self.after_one_failure <= self.rpo

    @property
    def arithmetic(self) -> str:
        """The sum, as a person would check it."""
        terms = {
            "interval": self.interval,
            "jitter": self.jitter,
            "duration" if self.is_measured else "duration, assumed": self.duration,
        }
        summands = " + ".join(f"{brief_duration(term)} ({name})" for name, term in terms.items())
        return f"{summands} = {brief_duration(self.worst_exposure)} at worst, RPO {brief_duration(self.rpo)}"


def cadence(policy: Policy, volume: Volume, duration: timedelta | None = None) -> Cadence:
    """Return the cadence of volume. duration is its measured p99 from capture to durable, None if there is none."""
    rpo = policy.rpo(volume)
    spent = rpo / SHARE if duration is None else duration
    given = Cron(volume.schedule, volume.time_zone) if volume.schedule else None
    schedule: Schedule
    if isinstance(volume, PostgresVolume):
        schedule = given or Every(BASE_BACKUP_EVERY)
        interval = tail_interval(policy, volume)
    else:
        schedule = given or Every(derive_interval(rpo, volume.jitter + spent))
        interval = schedule.longest_gap()
    return Cadence(schedule, rpo, interval, volume.jitter, spent, duration is not None)


def tail_interval(policy: Policy, volume: PostgresVolume) -> timedelta:
    """Return how often the WAL of volume becomes durable: its tail_every, else a tenth of its RPO."""
    return volume.tail_every or policy.rpo(volume) / SHARE


def derive_interval(rpo: timedelta, delay: timedelta) -> timedelta:
    """Return the longest round interval that survives one failed run: at most (rpo − delay) / 2.

    delay is jitter and duration. Never less than a second; whether that meets the RPO is for `Cadence` to say.
    """
    longest = (rpo - delay) / 2
    days = longest // timedelta(days=1)
    if days >= 1:
        return timedelta(days=days)
    return max((interval for interval in _ROUND if interval <= longest), default=_ROUND[0])
