"""`drtool wal`: PostgreSQL's WAL into the repository, so that every moment can be restored."""

from datetime import datetime

import click

from drtool.cli.ending import ends_well
from drtool.cli.exits import STORE, exit_codes
from drtool.cli.options import DRY_RUN, KEYS, PLACE, Invocation, common, complete_volume
from drtool.cli.output import Answer
from drtool.cli.units import counted, took, when
from drtool.errors import ObjectiveMissed, UsageError
from drtool.operations.follow import run_follow
from drtool.operations.results import CatchUp, Followed
from drtool.operations.slot_watch import SlotWatch
from drtool.operations.wal import run_catch_up
from drtool.policy.load import load_policy
from drtool.policy.schema import Policy
from drtool.policy.sizes import size


@click.group("wal")
def command() -> None:
    """Bring PostgreSQL's WAL into the repository."""


@command.command("catch-up", epilog=exit_codes(4, 6, 9, *STORE))
@click.argument("volume", required=False, shell_complete=complete_volume)
@DRY_RUN
@common(PLACE, KEYS)
def catch_up(invocation: Invocation, volume: str | None, *, dry_run: bool) -> int:
    """Fetch the WAL up to the server's current position, then end.

    VOLUME may be left out where the policy has only one of PostgreSQL.
    """
    policy = load_policy(invocation.policy_file())
    name = volume or only_postgres(policy)
    if dry_run:
        result = run_catch_up(invocation.session(), name, dry_run=True)
    else:
        with SlotWatch(policy, name, invocation.keys, invocation.world):
            result = run_catch_up(invocation.session(), name)
    return invocation.say(answer(result, invocation.now, dry_run=dry_run))


@command.command("follow", epilog=exit_codes(4, 6, *STORE))
@click.argument("volume", required=False, shell_complete=complete_volume)
@common(PLACE, KEYS)
def follow(invocation: Invocation, volume: str | None) -> int:
    """Bring the WAL into the repository as it comes, until SIGTERM or Ctrl-C.

    At least every tail_every what came is durable. Outages of the server and of the store are waited out. VOLUME may
    be left out where the policy has only one of PostgreSQL.
    """
    policy = load_policy(invocation.policy_file())
    name = volume or only_postgres(policy)
    with ends_well(), SlotWatch(policy, name, invocation.keys, invocation.world) as watch:
        result = run_follow(invocation.session, invocation.world, name, watch)
    return invocation.say(follow_answer(result, invocation.now))


def only_postgres(policy: Policy) -> str:
    """Return the one volume of PostgreSQL. Raises UsageError unless there is exactly one."""
    names = [volume.name for volume in policy.volumes if volume.source == "postgres"]
    if len(names) != 1:
        raise UsageError(
            f"the policy has {len(names)} volumes of PostgreSQL",
            hint=f"Name one of them: {', '.join(names)}." if names else "Only PostgreSQL has WAL.",
        )
    return names[0]


def follow_answer(result: Followed, now: datetime) -> Answer:
    """Return what a follower says at its end. It was asked to end and did: exit code 0."""
    advice = "Start it again: what is missing meanwhile is kept by the server."
    if result.gaps:
        advice = f"There was a gap ({result.gaps[-1]}): `drtool status` says whether a base backup was taken since."
    return Answer(
        command="wal-follow",
        verdict=f"wal follow: {result.volume} is durable up to {result.end}, {when(result.moment, now)}",
        advice=advice,
        facts={"follow": result},
        lines=[
            "",
            f"lineage   {result.lineage}, timeline {result.timeline}",
            *_measures(result),
        ],
    )


def answer(result: CatchUp, now: datetime, *, dry_run: bool = False) -> Answer:
    """Return what a catch-up says. A gap, or WAL that no base backup reaches, is no success: exit code 9."""
    return Answer(
        command="wal-catch-up",
        verdict=_verdict(result, now, dry_run=dry_run),
        advice=_advice(result, dry_run=dry_run),
        facts={"catch_up": result, "dry_run": dry_run},
        exit_code=0 if dry_run or (result.restorable and result.gap is None) else ObjectiveMissed.exit_code,
        lines=[
            "",
            f"lineage   {result.lineage}, timeline {result.timeline}",
            f"range     {result.begin} to {result.end}",
            *([] if dry_run else _measures(result)),
        ],
    )


def _measures(result: CatchUp | Followed) -> list[str]:
    kept = f"{counted(result.segments, 'segment')}, {counted(result.tails, 'tail')}"
    return [
        f"received  {size(result.received)} of WAL in {took(result.seconds)}",
        f"stored    {size(result.stored)} in {kept}",
    ]


def _verdict(result: CatchUp, now: datetime, *, dry_run: bool) -> str:
    if dry_run:
        return f"wal catch-up: {result.volume} would be fetched from {result.begin} to {result.end}"
    if result.gap is not None:
        return f"wal catch-up: {result.volume} HAS A GAP: {result.gap}"
    at_work = "there is nothing to do, for a follower is at work: " if result.by_follower else ""
    return f"wal catch-up: {at_work}{result.volume} is durable up to {result.end}, {when(result.moment, now)}"


def _advice(result: CatchUp, *, dry_run: bool) -> str:
    if dry_run:
        return "Nothing was written; run it without --dry-run."
    if not result.restorable:
        return f"No base backup reaches this WAL: run `drtool backup {result.volume}` now."
    return (
        f"Every moment up to there can be restored: `drtool restore {result.volume} --to-dir DIR --at TIME`."
    )
