"""The queues of a broker, before a worker reads them: held or purged by a pod beside it, as the policy says."""

import json
from typing import Final

from drtool.deploy.one_off import OneOff
from drtool.deploy.secrets import files_of, volume_keys
from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore.inside import run_pod
from drtool.operations.cluster_restore.probes import moved
from drtool.operations.cluster_restore.replay import Replay
from drtool.policy.volumes import RedisVolume
from drtool.recovery.steps import Step
from drtool.sources.base import Json

_LIMIT_S: Final = 600.0


def treat_queues(replay: Replay, step: Step) -> Json:
    """Do to the queues of a volume what its policy says; return how many messages of which queue. Safe to repeat."""
    volume = replay.policy.volume(step.what)
    if not isinstance(volume, RedisVolume):
        raise Refused(f"volume {volume.name} has no queues", hint="Plan again with the policy as it is.")
    if files := [name for name, _ in files_of(volume)]:
        said = f"volume {volume.name} is reached with {', '.join(files)}, files that no pod in the target has"
        raise Refused(said, hint="Set broker: restore, and see to the queues by hand before workers start.")
    there = _told(replay, volume)
    does = OneOff(
        replay.plan.wishes.image,
        args=("mover", "queues", volume.broker, there.model_dump_json(exclude_defaults=True)),
        secrets=volume_keys(volume),
    )
    log = run_pod(replay, step.id, does, _LIMIT_S)
    for line in reversed(log.splitlines()):
        if line.startswith('{"queues"'):
            told: Json = json.loads(line)
            return {"broker": volume.broker, **told, "notes": [_note(volume, told)]}
    raise TemporaryFailure("its log is gone", hint="Resume: what is done once is not done twice.")


def _told(replay: Replay, volume: RedisVolume) -> RedisVolume:
    """Return the volume as it is reached in the target. It names Secrets, and holds none."""
    old, new = replay.plan.namespace
    if isinstance(volume.host, str):
        return volume.model_copy(update={"host": moved(volume.host, old, new)})
    if volume.sentinel is not None:
        sentinel = volume.sentinel.model_copy(update={"service": moved(volume.sentinel.service, old, new)})
        return volume.model_copy(update={"sentinel": sentinel})
    return volume


def _note(volume: RedisVolume, told: Json) -> str:
    done = "held" if volume.broker == "hold" else "purged"
    counted = ", ".join(f"{each['messages']} of {each['name']}" for each in told["queues"]) or "none"
    back = f"; `drtool queues release {volume.name}` gives them back" if volume.broker == "hold" else ""
    return f"{volume.name}: messages {done}: {counted}{back}"
