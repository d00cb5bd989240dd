"""A Redis that runs is filled from what was restored beside it: what the mover of one without a claim does."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from drtool.errors import NotProven
from drtool.operations.results import RestoreResult
from drtool.operations.session import World
from drtool.operations.settings import redis_settings
from drtool.policy.volumes import RedisVolume
from drtool.sources.redis.beside import ACL_PATH, CONFIG_PATH
from drtool.sources.redis.seed import Seeding, seed

_BESIDE: Final = frozenset({ACL_PATH, CONFIG_PATH})  # what a capture keeps beside the RDB


def run_seed(volume: RedisVolume, result: RestoreResult, port: int, world: World) -> RestoreResult:
    """Fill the server that volume is reached as; return the result with what was proven of it.

    result is of a restore without a log. Raises what `seed` does, NotProven for a server that then has something else.
    """
    settings = redis_settings(volume, world)
    assert settings.endpoint is not None  # noqa: S101 - a mover is given an address
    world.progress.phase("filling the server that runs")
    [rdb] = [each for each in Path(result.directory).iterdir() if each.name not in _BESIDE]
    seeding = Seeding(settings.endpoint, settings.access, port, world.ending, settings.deadline_s)
    proofs = tuple(seed(seeding, rdb, result.facts))
    failed = [each for each in proofs if not each.ok]
    if failed:
        told = "; ".join(f"{each.name}: expected {each.expected}, found {each.actual}" for each in failed)
        raise NotProven(
            f"redis at {settings.endpoint} was filled, and {len(failed)} of {len(proofs)} proofs failed: {told}",
            hint="It takes no writes. Delete its pod, and restore an earlier point: `drtool points` lists them.",
        )
    running = tuple(replace(each, name=f"{each.name}, in the server that runs") for each in proofs)
    # Its notes are of files that lie beside the restored data, which ends with the mover.
    return replace(result, proofs=(*result.proofs, *running), notes=())
