"""`drtool points`: to which moments each volume can be brought back."""

from collections.abc import Sequence
from datetime import datetime

import click

from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import AT, KEYS, PLACE, Invocation, common, complete_volume
from drtool.cli.output import Answer
from drtool.cli.table import Table
from drtool.cli.units import counted, relative
from drtool.errors import NoRecoveryPoint
from drtool.operations.points import list_points
from drtool.operations.results import Point
from drtool.policy.moments import exact
from drtool.policy.sizes import size


@click.command("points", epilog=exit_codes(4, 8, *STORE))
@click.argument("volume", required=False, shell_complete=complete_volume)
@AT
@common(PLACE, KEYS)
def command(invocation: Invocation, volume: str | None, at: str | None) -> int:
    """List the recovery points.

    A point of PostgreSQL is an interval: any moment in it can be restored. With --at only those from
    which that moment can be reached: a restore uses the newest of them.
    """
    moment = invocation.moment(at)
    points = list_points(invocation.session(), volume, at=moment)
    if moment is not None and not points:
        raise NoRecoveryPoint(
            f"no recovery point reaches {exact(moment)}", hint="`drtool points` without --at lists all."
        )
    return invocation.say(answer(points, invocation.now))


def answer(points: Sequence[Point], now: datetime) -> Answer:
    """Return what a list of points says."""
    listed = [point for point in points if point.state == "listed"]
    if not listed:
        verdict, advice = "points: nothing can be restored", "Run `drtool backup`, then look again."
    else:
        newest = max(listed, key=lambda point: point.end)
        verdict = f"points: {counted(len(listed), 'point')} can be restored, the newest of {relative(newest.end, now)}"
        advice = f"`drtool restore {newest.volume} --to-dir DIR` brings back the newest; --at TIME any other."
    header = ("VOLUME", "FROM", "TO", "AGE", "SIZE", "STORED", "STATE", "POINT")
    return Answer(
        command="points",
        verdict=verdict,
        advice=advice,
        facts={"points": points},
        lines=[
            Table(header, [_row(point, now) for point in points], spare=("AGE", "STORED", "SIZE", "POINT")),
            *(f"{point.id} of {point.volume}: {point.detail}" for point in points if point.detail),
        ],
        alarm=not listed,
    )


def _row(point: Point, now: datetime) -> tuple[str, ...]:
    return (
        point.volume,
        exact(point.begin),
        exact(point.end),
        relative(point.end, now),
        size(point.size),
        size(point.stored),
        point.state,
        point.id,
    )
