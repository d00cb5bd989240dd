"""Files that rows refer to: looked for by a pod that reads the claim, as the application will, and asks the database.

What a mover proved of the files is that they are as they were captured; whether those are the files that the rows
name, only both together tell. What is missing is found, and told: nothing is undone for it, for no other point of the
files would be any better without somebody's decision.
"""

import json
from typing import Final

from drtool.deploy.one_off import OneOff
from drtool.deploy.pods import CLAIMS_FOLDER, DRTOOL_USER
from drtool.deploy.secrets import files_of, volume_keys
from drtool.errors import DrtoolError, Refused, TemporaryFailure
from drtool.operations.cluster_restore.inside import run_pod
from drtool.operations.cluster_restore.kinds import claims_of, pods_of_others
from drtool.operations.cluster_restore.probes import moved
from drtool.operations.cluster_restore.replay import Replay
from drtool.policy.schema import FileReferences
from drtool.policy.volumes import PostgresVolume
from drtool.recovery.places import Place, place_of
from drtool.recovery.refusal import Refusal
from drtool.recovery.steps import Step
from drtool.sources.base import Json

_REACHED: Final = ("host", "port", "database", "user", "password", "sslmode", "sslrootcert")


def check_references(replay: Replay, step: Step) -> Json:
    """Return how many files a query lists, and which are missing; why nobody can tell, where that is so."""
    asked = next(each for each in replay.policy.recovery.references if each.name == step.what)
    try:
        return _look(replay, step, asked)
    except DrtoolError as fault:
        if replay.session.world.ending.is_set():
            raise
        replay.session.world.progress.note(f"it is not known which files are missing: {fault.message}")
        return {"failed": fault.message}


def _look(replay: Replay, step: Step, asked: FileReferences) -> Json:
    volume = replay.policy.volume(asked.database)
    if not isinstance(volume, PostgresVolume):
        raise Refused(f"volume {volume.name} has no rows", hint="Plan again with the policy as it is.")
    if files := [name for name, _ in files_of(volume)]:
        raise Refused(
            f"volume {volume.name} is reached with {', '.join(files)}, files that no pod in the target has"
        )
    place = _place(replay, asked)
    claim, who = place.claim or "", place.identity
    does = OneOff(
        replay.plan.wishes.image,
        args=(
            *("mover", "references", _told(replay, volume), asked.model_dump_json()),
            *("--root", f"{CLAIMS_FOLDER}/{claim}"),
        ),
        user=DRTOOL_USER if who.user is None else who.user,
        group=DRTOOL_USER if who.group is None else who.group,
        groups=(*who.groups, *(() if who.fs_group is None else (who.fs_group,))),
        secrets=volume_keys(volume),
        claim=claim,
        placement=_placement(replay, place),
    )
    log = run_pod(replay, step.id, does, asked.time_limit.total_seconds())
    for line in reversed(log.split("\n")):
        if line.startswith('{"references"'):
            found: Json = json.loads(line)["references"]
            return found
    raise TemporaryFailure("the log of its pod is gone")


def _place(replay: Replay, asked: FileReferences) -> Place:
    objects = [each.item for each in replay.objects.values()]
    place = place_of(replay.policy.volume(asked.files), objects, {})
    if isinstance(place, Refusal):
        raise Refused(f"{place.about} {place.message}", hint=place.hint)
    return place


def _told(replay: Replay, volume: PostgresVolume) -> str:
    """Return the volume as it is reached in the target, as JSON. It names Secrets, and holds none."""
    if isinstance(volume.host, str):
        volume = volume.model_copy(update={"host": moved(volume.host, *replay.plan.namespace)})
    return volume.model_dump_json(include={"name", "source", *_REACHED}, exclude_none=True)


def _placement(replay: Replay, place: Place) -> Json:
    """Return where the claim can be mounted: beside who has it mounted already, for many let one node alone do that."""
    users = [pod for pod in pods_of_others(replay) if place.claim in claims_of(pod)]
    nodes = sorted({str(pod["spec"]["nodeName"]) for pod in users if pod["spec"].get("nodeName")})
    if not nodes:
        return place.placement
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": nodes[:1]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    tolerated = {key: each for key, each in place.placement.items() if key == "tolerations"}
    return {**tolerated, "affinity": {"nodeAffinity": required}}
