"""The mover of a Redis whose data lies in no claim: it fills the server, whose pod was started for that alone."""

from hashlib import sha256
from typing import Final

from drtool.deploy.claim_job import Runs
from drtool.deploy.mover import Lender, Mover, Seeds
from drtool.deploy.secrets import volume_keys
from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore.inside import ready_pods
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.unready import SILENT, unready
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.policy.volumes import RedisVolume
from drtool.recovery.hosts import find_host
from drtool.recovery.manifests.objects import Json, kind_of, part
from drtool.recovery.places import Place
from drtool.recovery.refusal import Refusal

READY_S: Final = 600.0
_FOLDER: Final = "data"
_FIRST_PORT: Final = 20_000
_PORTS: Final = 10_000


def seeding_mover(
    replay: Replay, volume: RedisVolume, place: Place, image: str, *, limit_s: float = READY_S
) -> Mover:
    """Return the mover, once the pod that is filled is ready. Raises TemporaryFailure where it does not become so.

    It needs no user of its own: what it has of the image only looks at a copy of the data. The pod is named by its
    address, for a Service may lead to another one, or to none while it is filled.
    """
    pod = _pod(replay, volume, place, limit_s)
    server = volume.model_copy(update={"host": str(part(pod, "status")["podIP"])})
    told = server.model_dump_json(exclude_defaults=True)
    return Mover(
        run=replay.run,
        volume=volume.name,
        image=image,
        claim="",
        path=_FOLDER,
        runs=Runs(placement=place.placement),
        lender=Lender(place.image, place.pull_secrets, place.resources),
        secrets=volume_keys(server),
        seeds=Seeds(told, volume.port, port_of(replay.run, volume.name), part(pod, "metadata", "labels")),
    )


def port_of(run: str, volume: str) -> int:
    """Return where a server comes to be filled: a replica of this port is known to be this run's, whoever died."""
    number = int.from_bytes(sha256(f"{run}/{volume}".encode()).digest()[:4])
    return _FIRST_PORT + number % _PORTS


def _pod(replay: Replay, volume: RedisVolume, place: Place, limit_s: float) -> Json:
    host = find_host(volume, [each.item for each in replay.objects.values()])
    if isinstance(host, Refusal):
        raise Refused(f"{host.about} {host.message}", hint=host.hint)
    is_set = kind_of(host.workload) == ("apps", "StatefulSet")
    deadline = Deadline(replay.session.world, limit_s)
    while True:
        for pod in ready_pods(replay, host.workload["metadata"]["name"]):
            if not is_set or pod["metadata"]["name"] == place.pod:
                return pod
        if deadline.is_over():
            why = next(unready(replay, host.workload), SILENT)
            raise TemporaryFailure(
                f"pod {place.pod} is not ready to be filled: {why}", hint="Mend that, and resume."
            )
        deadline.wait()
