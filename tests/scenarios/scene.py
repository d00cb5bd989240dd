"""A PostgreSQL, a Redis and an object store with a policy over them: what a scenario backs up, loses and restores."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree

from drtool.demo.servers.postgres import PostgresServer, private_directory
from drtool.demo.servers.redis import RedisServer, redis_program
from drtool.operations.session import KeyFiles, Session, Silent, World, connect, open_session
from drtool.policy.load import load_policy
from drtool.repository.config import VolumeLimits
from drtool.repository.repository import Request, init_repository
from drtool.repository.storage.settings import S3Settings

SETTINGS = {"max_slot_wal_keep_size": "1GB", "wal_level": "replica", "max_wal_senders": "10"}
POLICY = """\
version: 1
name: scene
repository:
  url: s3://{bucket}/{prefix}
  endpoint: {endpoint}
  access_key: {{env: SCENE_ACCESS_KEY}}
  secret_key: {{env: SCENE_SECRET_KEY}}
objectives: {{rpo: 15m, rto: 1h}}
volumes:
  - name: postgres
    source: postgres
    host: 127.0.0.1
    port: {postgres}
    user: postgres
    password: {{env: SCENE_PASSWORD}}
  - name: redis
    source: redis
    host: 127.0.0.1
    port: {redis}
"""


@dataclass(frozen=True)
class Scene:
    """Running servers, a policy file, the keys of an initialised repository, and the environment to use them."""

    directory: Path
    postgres: PostgresServer
    redis: RedisServer
    environment: Mapping[str, str]
    sessions: list[Session] = field(default_factory=list)

    @property
    def policy(self) -> Path:
        return self.directory / "policy.yaml"

    @property
    def bundle(self) -> Path:
        return self.directory / "writer.json"

    @property
    def kit(self) -> Path:
        return self.directory / "kit.txt"

    @property
    def repository_id(self) -> str:
        """The repository's id, hex."""
        return str(json.loads(self.bundle.read_text())["repository"])

    def world(self) -> World:
        return World(lambda: datetime.now(UTC), self.environment, Silent())

    def as_writer(self) -> Session:
        return self._open(KeyFiles(bundle=self.bundle))

    def as_operator(self) -> Session:
        return self._open(KeyFiles(recovery=self.kit))

    def _open(self, keys: KeyFiles) -> Session:
        session = open_session(self.policy, None, keys, self.world())
        self.sessions.append(session)
        return session

    def close(self) -> None:
        for session in self.sessions:
            session.close()


@contextmanager
def play(major: int, redis_version: str, s3: S3Settings, *, wal_segment_mb: int = 16) -> Iterator[Scene]:
    """Start everything, initialise a repository for it, and leave nothing behind."""
    directory = private_directory("scene")
    directory.chmod(0o755)
    postgres = PostgresServer.create(
        major, directory, settings=SETTINGS, fast=True, wal_segment_mb=wal_segment_mb
    )
    redis = RedisServer.create(
        redis_program(redis_version), directory / "redis", {"repl-diskless-sync-delay": "0", "save": ""}
    )
    try:
        postgres.start()
        redis.start()
        scene = _initialised(directory, postgres, redis, s3)
        yield scene
        scene.close()
    finally:
        redis.kill()
        postgres.kill()
        rmtree(directory)


def _initialised(directory: Path, postgres: PostgresServer, redis: RedisServer, s3: S3Settings) -> Scene:
    assert s3.credentials is not None
    keys = s3.credentials()
    environment = {
        "PATH": os.pathsep.join([str(postgres.bin_dir), os.environ["PATH"]]),
        "SCENE_PASSWORD": postgres.password,
        "SCENE_ACCESS_KEY": keys.access_key,
        "SCENE_SECRET_KEY": keys.secret_key,
    }
    scene = Scene(directory, postgres, redis, environment)
    place = {"bucket": s3.bucket, "prefix": s3.prefix.strip("/"), "endpoint": s3.endpoint}
    scene.policy.write_text(POLICY.format(**place, postgres=postgres.port, redis=redis.port))
    policy = load_policy(scene.policy)
    limits = {
        volume.name: VolumeLimits(int(volume.window.total_seconds()), int(volume.max_run.total_seconds()))
        for volume in policy.volumes
    }
    store = connect(policy.repository, scene.world())
    created = init_repository(store, Request(policy.name, [("first", None)], limits))
    store.close()
    scene.bundle.write_text(created.writer.dump())
    scene.kit.write_text(created.recovery["first"].text())
    return scene
