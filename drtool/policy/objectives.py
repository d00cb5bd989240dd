"""Objectives judged over time: exposure, compliance, skew, and how long a recovery will take."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class DurablePoint:
    """A recovery point: the moment to which it brings the data back, and when it became durable. Both UTC.

    For a point that is a span, moment is the span's beginning: what came later may be missing from it.
    """

    moment: datetime
    durable: datetime


def exposure(points: Iterable[DurablePoint], at: datetime) -> timedelta | None:
    """Return what a disaster at `at` would lose: at − newest moment durable by then; None if nothing was durable."""
    moments = [point.moment for point in points if point.durable <= at]
    return at - max(moments) if moments else None


def compliance(points: Iterable[DurablePoint], rpo: timedelta, start: datetime, end: datetime) -> float:
    """Return the share of [start, end) during which exposure was at most rpo, from 0 to 1. start is before end.

    Weighted by time, so a hundred good jobs do not outweigh a day without any.
    """
    inside = timedelta(0)
    for begin, finish, moment in _reigns(sorted(points, key=lambda point: point.durable), end):
        inside += max(timedelta(0), min(finish, moment + rpo, end) - max(begin, start))
    return inside / (end - start)


def _reigns(
    by_durable: Sequence[DurablePoint], end: datetime
) -> Iterable[tuple[datetime, datetime, datetime]]:
    """Yield begin, end and newest moment of each stretch between two points becoming durable."""
    changes = [point.durable for point in by_durable] + [end]
    newest: datetime | None = None
    for point, (begin, finish) in zip(by_durable, pairwise(changes), strict=True):
        newest = point.moment if newest is None else max(newest, point.moment)
        yield begin, finish, newest


def skew(moments: Iterable[datetime]) -> timedelta:
    """Return how far apart the recovery points of one application lie: newest − oldest; zero for none."""
    listed = list(moments)
    return max(listed) - min(listed) if listed else timedelta(0)


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured in earlier restores: bytes a second, and how long deploying and proving took."""

    restore: float
    replay: float
    deploy: timedelta
    proofs: timedelta


@dataclass(frozen=True, slots=True)
class PredictedRecovery:
    """How long a recovery will take, by its phases."""

    data: timedelta
    replay: timedelta
    deploy: timedelta
    proofs: timedelta

    @property
    def total(self) -> timedelta:
        """The predicted time to recover."""
        return self.data + self.replay + self.deploy + self.proofs


def predict_recovery(size_bytes: int, wal_bytes: int, rates: Rates) -> PredictedRecovery:
    """Return size ÷ restore rate + WAL since the base ÷ replay rate + deploy and proof times. Rates are positive."""
    return PredictedRecovery(
        data=timedelta(seconds=size_bytes / rates.restore),
        replay=timedelta(seconds=wal_bytes / rates.replay),
        deploy=rates.deploy,
        proofs=rates.proofs,
    )
