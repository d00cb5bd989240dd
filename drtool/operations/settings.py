"""From a volume of the policy to the settings of its source: the one place that knows both."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from drtool.errors import UsageError
from drtool.operations.session import World
from drtool.policy.schema import Policy
from drtool.policy.secret import SecretReference
from drtool.policy.volumes import FilesVolume, ManifestsVolume, PostgresVolume, RedisVolume, Volume
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.manifests import ACCEPTED, ManifestsSource
from drtool.sources.kubernetes.selection import Filter
from drtool.sources.kubernetes.transport import is_in_pod
from drtool.sources.postgres.connection import PostgresSettings
from drtool.sources.redis.capture import RedisSettings
from drtool.sources.redis.connection import Access, Endpoint, Tls
from drtool.sources.redis.sentinels import Sentinel

CLAIMS: Final = "/claims"  # each claim is mounted in a folder of its name; DRTOOL_CLAIMS says another place


def postgres_volume(policy: Policy, name: str) -> PostgresVolume:
    """Return the PostgreSQL volume called name. Raises UsageError when it is of another source."""
    volume = policy.volume(name)
    if not isinstance(volume, PostgresVolume):
        raise UsageError(
            f"volume {name} is of source {volume.source}, and only postgres has WAL",
            hint="Name a volume whose source is postgres.",
        )
    return volume


def postgres_settings(volume: PostgresVolume, world: World) -> PostgresSettings:
    """Return how to reach a PostgreSQL volume. Raises UsageError that names a missing secret."""
    return PostgresSettings(
        host=world.secret(volume.host) or "",
        port=volume.port,
        user=world.secret(volume.user) or "",
        password=_later(volume.password, world),
        dbname=world.secret(volume.database) or "postgres",
        sslmode=volume.sslmode,
        sslrootcert=_root_certificate(volume.sslrootcert, world),
    )


def _root_certificate(said: str | None, world: World) -> str | None:
    """Return libpq's sslrootcert: a file, or its word for the system's own authorities."""
    return said if said in (None, "system") else str(world.file(said))


def redis_settings(volume: RedisVolume, world: World) -> RedisSettings:
    """Return how to reach a Redis volume. Raises UsageError that names a missing secret."""
    tls = _tls(volume, world)
    sentinel = None
    if volume.sentinel is not None:
        said = volume.sentinel
        access = Access(world.secret(said.username) or "", _later(said.password, world), tls)
        sentinel = Sentinel((Endpoint(said.service, said.port),), said.master, access)
    host = world.secret(volume.host)
    return RedisSettings(
        endpoint=Endpoint(host, volume.port) if host else None,
        sentinel=sentinel,
        access=Access(world.secret(volume.username) or "", _later(volume.password, world), tls),
        allow_master=volume.allow_master,
        deadline_s=volume.max_run.total_seconds(),
    )


def _tls(volume: RedisVolume, world: World) -> Tls | None:
    if volume.tls is None:
        return None
    said = (volume.tls.ca_file, volume.tls.cert_file, volume.tls.key_file)
    return Tls(*map(world.file, said))


def _later(reference: SecretReference | None, world: World) -> Callable[[], str] | None:
    """Return what reads a secret each time it is needed, so that it may rotate; read once now, to fail early."""
    if reference is None:
        return None
    world.secret(reference)
    return lambda: world.secret(reference) or ""


def files_directory(volume: FilesVolume, world: World) -> Path:
    """Return where the files of a volume lie on this machine: its path, or where its claim is mounted."""
    if volume.path is not None:
        return Path(volume.path)
    return Path(world.environment.get("DRTOOL_CLAIMS", CLAIMS)) / str(volume.claim)


def manifests_source(policy: Policy, volume: ManifestsVolume, world: World) -> ManifestsSource:
    """Return what captures the objects of the policy's namespace. Raises UsageError where no cluster is configured."""
    if policy.kubernetes is None:
        raise UsageError(
            f"volume {volume.name} is of a namespace, and the policy names none",
            hint="Set `kubernetes: {namespace: …}` in it.",
        )
    cluster = Cluster.open(None, world.environment, ending=world.ending)
    chosen = Filter(volume.include, volume.exclude)
    accepted = None if is_in_pod(world.environment) else world.environment.get(ACCEPTED, "")
    return ManifestsSource(cluster, policy.kubernetes.namespace, chosen, world.clock, accepted)


def unsupported(volume: Volume) -> UsageError:
    """Return the error for a source that this version cannot capture outside of a cluster."""
    return UsageError(
        f"volume {volume.name}: source {volume.source} cannot be captured by this version",
        hint="Leave the volume out for now: `drtool backup VOLUME…` names those to take.",
    )
