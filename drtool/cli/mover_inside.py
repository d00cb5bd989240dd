"""`drtool mover probe` and `drtool mover queues`: what drtool's one-off pods run. Not for people, and not listed."""

import json
from typing import Any

import click
from pydantic import ValidationError

from drtool.cli.options import Invocation, common
from drtool.cli.output import encode, say_text
from drtool.errors import UsageError
from drtool.operations.inside import probe_http, run_queues
from drtool.policy.volumes import RedisVolume


@click.command("probe")
@click.argument("url")
@click.option("--status", type=int, default=200, help="What it must answer.")
@click.option("--limit", type=float, default=300.0, help="For how many seconds it is asked.")
@common()
def probe(invocation: Invocation, url: str, status: int, limit: float) -> int:
    """Ask URL until it answers with a status."""
    probe_http(url, status, invocation.world, limit)
    say_text(f"{url} answered {status}")
    return 0


@click.command("queues")
@click.argument("doing", type=click.Choice(["list", "hold", "release", "purge", "discard"]))
@click.argument("volume")
@common()
def queues(invocation: Invocation, doing: Any, volume: str) -> int:
    """Treat the queues of VOLUME, a volume of Redis as JSON. The last line printed says what they were, as JSON."""
    try:
        described = RedisVolume.model_validate_json(volume)
    except ValidationError as fault:
        raise UsageError("this is no volume of Redis", hint="Give it as `drtool restore` does.") from fault
    say_text(
        json.dumps({"queues": encode(run_queues(described, doing, invocation.world))}, ensure_ascii=False)
    )
    return 0
