"""`drtool mover probe`, `queues` and `references`: what drtool's one-off pods run. Not for people, and not listed."""

import json
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from drtool.cli.options import Invocation, common
from drtool.cli.output import encode, say_text
from drtool.errors import UsageError
from drtool.operations.inside import probe_http, run_queues
from drtool.operations.references import look_for_files
from drtool.policy.schema import FileReferences
from drtool.policy.volumes import PostgresVolume, RedisVolume


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
    found = run_queues(redis_of(volume), doing, invocation.world)
    say_text(json.dumps({"queues": encode(found)}))
    return 0


def redis_of(volume: str) -> RedisVolume:
    """Return a volume of Redis that was given as JSON. Raises UsageError for anything else."""
    try:
        return RedisVolume.model_validate_json(volume)
    except ValidationError as fault:
        raise UsageError("this is no volume of Redis", hint="Give it as `drtool restore` does.") from fault


@click.command("references")
@click.argument("volume")
@click.argument("asked")
@click.option("--root", required=True, type=click.Path(path_type=Path), help="The root of the files.")
@common()
def references(invocation: Invocation, volume: str, asked: str, root: Path) -> int:
    """Look below a root for the files that a query lists; VOLUME of PostgreSQL and what is ASKED are JSON.

    The last line printed says what is missing, as JSON.
    """
    try:
        described = PostgresVolume.model_validate_json(volume)
        reference = FileReferences.model_validate_json(asked)
    except ValidationError as fault:
        raise UsageError(
            "this is no volume of PostgreSQL, or no reference", hint="Give them as `drtool restore` does."
        ) from fault
    looked = look_for_files(described, reference, root, invocation.world)
    say_text(json.dumps({"references": encode(looked)}))
    return 0
