"""The demo's servers and files: started on free loopback ports, lost, restored, and cleared away, whatever happens."""

import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from drtool.demo.forum import DATABASE, ROLE
from drtool.demo.interrupts import no_interrupts
from drtool.demo.servers.postgres import PostgresServer, find_bin_dir, give, private_directory
from drtool.demo.servers.process import ServerFailed
from drtool.demo.servers.redis import RedisServer, redis_program
from drtool.demo.servers.seaweedfs import Identity, SeaweedFS
from drtool.policy.durations import format_duration

MAJOR, REDIS = 18, "6.2"
BUCKET = "backup"
RPO, RTO = timedelta(minutes=1), timedelta(minutes=2)  # what the demo's policy promises
POSTGRES_SETTINGS = {
    "max_slot_wal_keep_size": "1GB",
    "checkpoint_timeout": "30s",
    "shared_buffers": "32MB",
}
REDIS_SETTINGS = {
    "save": "",
    "appendonly": "no",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
}

POLICY = """\
version: 1
name: forum
repository:
  url: s3://{bucket}/forum
  endpoint: {endpoint}
  access_key: {{env: DEMO_ACCESS_KEY}}
  secret_key: {{env: DEMO_SECRET_KEY}}
  writer: {{file: writer.json}}
objectives: {{rpo: {rpo}, rto: {rto}}}
volumes:
  - name: postgres
    source: postgres
    host: 127.0.0.1
    port: {postgres_port}
    database: {database}
    user: {role}
    password: {{env: DEMO_POSTGRES_PASSWORD}}
    proofs:
      - {{name: posts, sql: "select count(*) from post", at_least: 1}}
  - name: redis
    source: redis
    host: 127.0.0.1
    port: {redis_port}
    password: {{env: DEMO_REDIS_PASSWORD}}
    allow_master: true                # there is no replica to capture from
"""


@dataclass
class Stage:
    """A directory of its own, the servers in it, and the passwords that only the demo's environment holds."""

    directory: Path
    keep: bool
    passwords: Mapping[str, str] = field(
        default_factory=lambda: {
            name: secrets.token_urlsafe(16) for name in ("access", "secret", "role", "redis")
        },
        repr=False,
    )
    _running: list[PostgresServer | RedisServer | SeaweedFS] = field(default_factory=list)

    @classmethod
    def make(cls, *, keep: bool) -> Self:
        """Return an empty stage. Use it as a context."""
        return cls(private_directory("demo"), keep)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """End every server, and remove the directory unless it is to be kept."""
        with no_interrupts():
            for server in reversed(self._running):
                with suppress(ServerFailed):
                    server.stop()
            if not self.keep:
                shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> tuple[PostgresServer, RedisServer]:
        """Start the object store and the forum's two servers, and write the policy. Raises ServerFailed."""
        admin = Identity(self.passwords["access"], self.passwords["secret"])
        store = SeaweedFS.start(self._folder("store"), [admin])
        self._running.append(store)
        store.create_bucket(BUCKET, versioned=True)
        postgres = PostgresServer.create(MAJOR, self._folder("postgres"), settings=POSTGRES_SETTINGS)
        redis = self._redis(self._folder("redis"))
        for server in (postgres, redis):
            self._running.append(server)
            server.start()
        policy = POLICY.format(
            bucket=BUCKET,
            rpo=format_duration(RPO),
            rto=format_duration(RTO),
            endpoint=store.endpoint,
            postgres_port=postgres.port,
            database=DATABASE,
            role=ROLE,
            redis_port=redis.port,
        )
        (self.directory / "policy.yaml").write_text(policy)
        return postgres, redis

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the demo's shell: where the policy is, and the secrets that it refers to."""
        return {
            **inherited,
            "PATH": os.pathsep.join([str(find_bin_dir(MAJOR)), inherited.get("PATH", os.defpath)]),
            "DRTOOL_POLICY": "policy.yaml",
            "DEMO_ACCESS_KEY": self.passwords["access"],
            "DEMO_SECRET_KEY": self.passwords["secret"],
            "DEMO_POSTGRES_PASSWORD": self.passwords["role"],
            "DEMO_REDIS_PASSWORD": self.passwords["redis"],
        }

    def lose(self, postgres: PostgresServer, redis: RedisServer) -> None:
        """Kill both servers as a power cut would, and delete everything that they had."""
        for server in (postgres, redis):
            server.kill()
            shutil.rmtree(server.data)

    def start_postgres(self, name: str, lost: PostgresServer) -> PostgresServer:
        """Start PostgreSQL on what was restored into the directory of that name. Raises ServerFailed."""
        data = self.directory / name
        server = PostgresServer(data, lost.bin_dir, password=lost.password)
        self._running.append(server)
        server.start()
        return server

    def start_redis(self, name: str) -> RedisServer:
        """Start Redis on what was restored into the directory `data` below that name. Raises ServerFailed."""
        server = self._redis(self.directory / name)
        self._running.append(server)
        server.start()
        return server

    def _redis(self, directory: Path) -> RedisServer:
        return RedisServer.create(
            redis_program(REDIS), directory, REDIS_SETTINGS, password=self.passwords["redis"]
        )

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir()
        give(folder)
        return folder
