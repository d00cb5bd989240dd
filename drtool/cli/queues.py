"""`drtool queues`: what a restore has put aside of a broker's queues, given back to the workers or deleted."""

from typing import Final

import click

from drtool.cli.exits import exit_codes
from drtool.cli.options import DRY_RUN, POLICY, Invocation, common, complete_volume
from drtool.cli.output import Answer
from drtool.cli.table import Table
from drtool.cli.units import counted
from drtool.errors import UsageError
from drtool.operations.inside import run_queues
from drtool.policy.load import load_policy
from drtool.policy.volumes import RedisVolume
from drtool.sources.redis.queues import Doing, Queue

_DONE: Final[dict[Doing, str]] = {"list": "there", "release": "given back", "discard": "deleted"}


@click.group("queues")
def command() -> None:
    """List what is held of a broker's queues, give it back, or delete it."""


@command.command("list", epilog=exit_codes(6, 75))
@click.argument("volume", shell_complete=complete_volume)
@common(POLICY)
def listed(invocation: Invocation, volume: str) -> int:
    """List the queues of VOLUME, those that workers read and those that are held."""
    return _run(invocation, volume, "list", dry_run=False)


@command.command("release", epilog=exit_codes(6, 75))
@click.argument("volume", shell_complete=complete_volume)
@DRY_RUN
@common(POLICY)
def release(invocation: Invocation, volume: str, *, dry_run: bool) -> int:
    """Give what is held back to the workers of VOLUME, who take it before what has come since, in its order.

    Safe to repeat, and to stop: each queue is moved at once.
    """
    return _run(invocation, volume, "release", dry_run=dry_run)


@command.command("purge", epilog=exit_codes(6, 75))
@click.argument("volume", shell_complete=complete_volume)
@DRY_RUN
@common(POLICY)
def purge(invocation: Invocation, volume: str, *, dry_run: bool) -> int:
    """Delete what is held of VOLUME. What workers read is left alone."""
    return _run(invocation, volume, "discard", dry_run=dry_run)


def _run(invocation: Invocation, name: str, doing: Doing, *, dry_run: bool) -> int:
    volume = load_policy(invocation.policy_file()).volume(name)
    if not isinstance(volume, RedisVolume):
        raise UsageError(
            f"volume {name} is of source {volume.source}, and only redis has queues",
            hint="Name a volume whose source is redis.",
        )
    found = run_queues(volume, "list" if dry_run else doing, invocation.world)
    if dry_run:
        found = [queue for queue in found if queue.is_held]
    return invocation.say(answer(name, found, doing, dry_run=dry_run))


def answer(volume: str, found: list[Queue], doing: Doing, *, dry_run: bool = False) -> Answer:
    """Return what is said of queues: how many messages of which."""
    total = counted(sum(queue.messages for queue in found), "message")
    are = "would be" if dry_run else "are"
    advice = "Nothing was changed; run it without --dry-run." if dry_run else "Workers read what is not held."
    rows = [
        (str(queue.database), queue.name, str(queue.messages), "held" if queue.is_held else "read by workers")
        for queue in found
    ]
    return Answer(
        command=f"queues-{'purge' if doing == 'discard' else doing}",
        verdict=f"queues: {total} of {volume} {are} {_DONE[doing]}",
        advice=advice,
        facts={"volume": volume, "queues": found, "dry_run": dry_run},
        lines=[Table(("DATABASE", "QUEUE", "MESSAGES", "WAS"), rows)] if rows else [],
    )
