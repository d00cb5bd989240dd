"""`drtool mover`: what drtool's own pods run in a cluster that is restored into. Not for people, and not listed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from drtool.cli.mover_inside import probe, queues, redis_of, references
from drtool.cli.options import GRANT, PLACE, Invocation, common
from drtool.cli.output import encode, say_text
from drtool.cli.pod_progress import PodProgress
from drtool.operations.mover import Claim, run_mover, settle, wait_for_hands
from drtool.operations.restore import RestoreRequest, run_restore
from drtool.operations.seed_redis import run_seed
from drtool.sources.base import Json

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group("mover", hidden=True)
def command() -> None:
    """Bring data back in a pod of the cluster that is restored into."""


command.add_command(probe)
command.add_command(queues)
command.add_command(references)


@command.command("restore")
@click.argument("volume")
@click.option("--claim", required=True, type=_FOLDER, help="Where the claim is mounted.")
@click.option("--path", default="", help="Where in the claim the data goes; its root where nothing is said.")
@click.option("--run", required=True, help="The run that this is a part of.")
@click.option("--hands", type=_FOLDER, help="The folder in which another container puts its programs.")
@click.option("--into", help="A Redis that runs and is filled from what was brought back, as JSON.")
@click.option("--port", type=int, default=0, help="Where that one comes to be filled.")
@common(PLACE, GRANT)
def restore(
    invocation: Invocation, volume: str, *, hands: Path | None, into: str | None, **given: Any
) -> int:
    """Bring the granted point of VOLUME back into a claim, or through a folder into a Redis that runs.

    The last line of what is printed is the result, as JSON; how far it is comes before that, as JSON too.
    """
    invocation = replace(invocation, progress=PodProgress())
    bin_dir = None if hands is None else wait_for_hands(hands, invocation.world)
    place = Claim(given["claim"], given["path"], given["run"], volume)
    request = RestoreRequest(volume=volume, directory=place.target, bin_dir=bin_dir)
    if into is None:
        _say(run_mover(invocation.session(), request, place, encode))
    else:
        server = redis_of(into)
        restored = run_restore(invocation.session(), replace(request, appendonly=False))
        _say(encode(run_seed(server, restored, given["port"], invocation.world)))
    return 0


@command.command("settle")
@click.argument("volume")
@click.option("--claim", required=True, type=_FOLDER, help="Where the claim is mounted.")
@click.option("--run", required=True, help="The run that has brought its data back.")
@common()
def settle_claim(_invocation: Invocation, volume: str, claim: Path, run: str) -> int:
    """Remove what a run left in the claim of VOLUME beside the data: the run knows by now how it went."""
    settle(Claim(claim, "", run, volume))
    return 0


def _say(result: Json) -> None:
    say_text(json.dumps({"restore": result}))
