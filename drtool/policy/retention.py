"""Which points are kept, and why: a function from points and rules to verdicts. Time is the store's."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Generic, Protocol, Self, TypeVar

from pydantic import Field, model_validator

from drtool.policy.model import Delay, Model, refusal

Count = Annotated[int, Field(ge=0, le=100_000)]


class Retention(Model):
    """How many points are kept: the newest ones, and the newest of each hour, day, ISO week, month and year (UTC).

    at_least is a floor under the points that the rules select: the chosen point of an hour (day, …) stays until it
    is that old, whatever the number says. Where only `last` is given there are no hours to choose from, and every
    point stays until then. So who floods a volume with points cannot push out the good ones.
    """

    last: Count = 0
    hourly: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0
    at_least: Delay = timedelta(0)

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not (self.last or any(count for _, count, _ in self.periods())):
            raise refusal(
                "keeps nothing", "give at least one of last, hourly, daily, weekly, monthly and yearly"
            )
        return self

    def periods(self) -> tuple[tuple[str, int, timedelta], ...]:
        """Return the rules with a period: name, how many periods, and the length of the shortest such period."""
        return (
            ("hourly", self.hourly, timedelta(hours=1)),
            ("daily", self.daily, timedelta(days=1)),
            ("weekly", self.weekly, timedelta(days=7)),
            ("monthly", self.monthly, timedelta(days=28)),
            ("yearly", self.yearly, timedelta(days=365)),
        )


class Point(Protocol):
    """What retention asks of a recovery point. time is when the store received it, UTC."""

    @property
    def id(self) -> str:
        """The point's name, unique in its volume."""
        ...

    @property
    def time(self) -> datetime:
        """When the store received it."""
        ...

    @property
    def verified(self) -> bool:
        """Whether a verification counts for it: one signed by a verifier, the maintainer or an operator."""
        ...

    @property
    def held(self) -> bool:
        """Whether a hold or a use keeps it."""
        ...


P = TypeVar("P", bound=Point)


@dataclass(frozen=True, slots=True)
class Verdict(Generic[P]):
    """One point: kept for these reasons, or expired for none."""

    point: P
    reasons: tuple[str, ...]

    @property
    def keep(self) -> bool:
        """Whether the point stays."""
        return bool(self.reasons)


@dataclass(frozen=True, slots=True)
class Decision(Generic[P]):
    """The verdicts on one volume's points, newest first."""

    verdicts: tuple[Verdict[P], ...]

    @property
    def kept(self) -> tuple[P, ...]:
        """The points that stay, newest first."""
        return tuple(verdict.point for verdict in self.verdicts if verdict.keep)

    @property
    def expired(self) -> tuple[P, ...]:
        """The points that go, newest first."""
        return tuple(verdict.point for verdict in self.verdicts if not verdict.keep)

    @property
    def must_be_told(self) -> bool:
        """Whether more than half of the series would go: nobody deletes that without being told."""
        return 2 * len(self.expired) > len(self.verdicts)


def decide(points: Iterable[P], rules: Retention, now: datetime) -> Decision[P]:
    """Return a verdict on every point of one volume. Never empties a volume that has points.

    Points are judged by their time at the store, in UTC. Those dated after now are kept and take no other's place.
    """
    ordered = sorted(points, key=lambda point: (point.time, point.id), reverse=True)
    past = [point for point in ordered if point.time <= now]
    reasons: dict[str, list[str]] = {point.id: [] for point in ordered}
    for name, chosen in _selections(past, rules, now - rules.at_least):
        for point in chosen:
            reasons[point.id].append(name)
    for point in ordered:
        if point.time > now:
            reasons[point.id].append("dated in the future")
        if point.held:
            reasons[point.id].append("held")
    for name, candidates in (
        ("newest", past),
        ("newest verified", [point for point in ordered if point.verified]),
    ):
        for point in candidates[:1]:
            reasons[point.id].append(name)
    return Decision(tuple(Verdict(point, tuple(reasons[point.id])) for point in ordered))


def _selections(past: Sequence[P], rules: Retention, floor: datetime) -> Iterable[tuple[str, Sequence[P]]]:
    """Yield each rule's name with the points that it selects. past is newest first; floor is at_least ago."""
    yield "last", past[: rules.last]
    periods = [(name, count) for name, count, _ in rules.periods() if count]
    if not periods:
        yield "at_least", [point for point in past if point.time > floor]
    for name, count in periods:
        heads = _newest_of_each(past, _PERIOD[name])
        yield name, [point for index, point in enumerate(heads) if index < count or point.time > floor]


def _newest_of_each(past: Sequence[P], period: Callable[[datetime], tuple[int, ...]]) -> list[P]:
    heads: dict[tuple[int, ...], P] = {}
    for point in past:
        heads.setdefault(period(point.time.astimezone(UTC)), point)
    return list(heads.values())


_PERIOD: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "hourly": lambda time: (time.year, time.month, time.day, time.hour),
    "daily": lambda time: (time.year, time.month, time.day),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: (time.year,),
}
