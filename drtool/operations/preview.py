"""`backup --dry-run`: a look at the source of a volume, which ends as its backup would that is refused."""

from drtool.operations.descent import refuse_other_server
from drtool.operations.past import Past
from drtool.operations.session import Session
from drtool.operations.settings import (
    files_directory,
    manifests_source,
    postgres_settings,
    redis_settings,
    unsupported,
)
from drtool.policy.volumes import FilesVolume, ManifestsVolume, PostgresVolume, RedisVolume, Volume
from drtool.repository.snapshot import Snapshot
from drtool.sources.base import Look
from drtool.sources.files.capture import FilesSource
from drtool.sources.postgres.preview import look as look_at_postgres
from drtool.sources.postgres.slot import slot_name
from drtool.sources.redis.capture import RedisSource


def look_at_source(session: Session, volume: Volume, previous: Snapshot | None) -> Look:
    """Return what a capture of volume would meet now. Raises what the capture would raise before its first byte."""
    session.world.progress.phase(f"{volume.name}: looking at the source")
    past = Past(session, volume, previous)
    match volume:
        case PostgresVolume():
            policy, repository = session.need_policy(), session.repository.config.repository
            slot = slot_name(policy.name, volume.name, repository)
            seen = look_at_postgres(postgres_settings(volume, session.world), slot, volume.on_backlog)
            refuse_other_server(session, volume)
            return seen
        case RedisVolume():
            with RedisSource(redis_settings(volume, session.world)).capture(past) as redis:
                return redis.look()
        case FilesVolume():
            with FilesSource(files_directory(volume, session.world), session.world.clock).capture(
                past
            ) as files:
                return files.look()
        case ManifestsVolume():
            with manifests_source(session.need_policy(), volume, session.world).capture(past) as manifests:
                return manifests.look()
        case _:
            raise unsupported(volume)
