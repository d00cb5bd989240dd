"""A system that was backed up, for the tests that do it harm: whatever happens, its earlier points must stay."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.s3 import S3Store
from drtool.repository.storage.settings import S3Settings
from tests.conftest import S3Server
from tests.faults.proxy import FaultProxy
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.files import Files, make_files
from tests.scenarios.scene import Scene, play

SECRETS = {
    "REDIS_PASSWORD": "the-password-of-redis",
    "PLAIN_PASSWORD": "the-password-of-plain",
    "WRONG": "something-that-is-wrong",
}


@dataclass(frozen=True)
class System:
    """Servers, the commands over them and a proxy to their S3 store, and the store itself.

    proxied are the same commands, by way of the proxy. when_empty and when_filled are moments at which nothing
    was written: before there was a row or a key, and after.
    """

    scene: Scene
    s3: S3Settings
    drtool: Commands
    proxied: Commands
    proxy: FaultProxy
    store: ObjectStore
    when_empty: datetime
    when_filled: datetime

    def objects(self, prefix: str = "") -> set[tuple[str, int, str | None]]:
        """Return every version of every object that the store holds."""
        return {(found.name, found.size, found.version) for found in self.store.versions(prefix)}

    def states(self) -> dict[str, str]:
        """Return the state of each point by its name."""
        return {point["name"]: point["state"] for point in self.drtool("points").value["points"]}

    def secrets(self) -> dict[str, str]:
        """Return everything that no output may show."""
        kit = [line for line in self.drtool.kit.read_text().splitlines() if line.startswith("DRTOOL-")]
        names = ("SCENE_PASSWORD", "SCENE_SECRET_KEY", *SECRETS)
        return {name: self.drtool.environment[name] for name in names} | dict(
            zip(("key", "sign"), kit, strict=True)
        )


@pytest.fixture(scope="session")
def backed_up_system(s3_server: S3Server) -> Iterator[System]:
    s3 = s3_server.at(s3_server.plain)
    assert s3.endpoint is not None
    with play(18, "6.2", s3_server.at(s3_server.plain)) as scene, FaultProxy(s3.endpoint) as proxy:
        drtool = _with_passwords(scene, Commands.over(scene, s3_repository(s3), **SECRETS))
        drtool.init()
        when_empty = _backed_up(drtool)
        _fill(scene)
        when_filled = _backed_up(drtool)
        proxied = drtool.but("repository", endpoint=proxy.endpoint)
        with closing(S3Store(s3)) as store:
            yield System(scene, s3, drtool, proxied, proxy, store, when_empty, when_filled)
        drtool("verify", "--level", "L0")


def _with_passwords(scene: Scene, drtool: Commands) -> Commands:
    """Give Redis a password, and PostgreSQL a role that may not replicate."""
    password = SECRETS["REDIS_PASSWORD"]
    with scene.redis.connect() as connection:
        connection.call("CONFIG", "SET", "requirepass", password)
    scene.redis.password = password
    scene.postgres.sql(f"create role plain login password '{SECRETS['PLAIN_PASSWORD']}'")
    return drtool.but("redis", password={"env": "REDIS_PASSWORD"})


def _backed_up(drtool: Commands) -> datetime:
    """Back up both volumes and catch up; return the moment that is covered then."""
    drtool("backup")
    return datetime.fromisoformat(drtool("wal", "catch-up").value["catch_up"]["moment"])


def _fill(scene: Scene) -> None:
    scene.postgres.sql(
        "create table post as select g as id, md5(g::text) as text from generate_series(1, 500) g"
    )
    with scene.redis.connect() as connection:
        for number in range(50):
            connection.call("SET", f"key:{number}", "value" * number)


@pytest.fixture
def system(backed_up_system: System) -> Iterator[System]:
    """The system; afterwards its earlier points are what they were, and nothing that was said holds a secret.

    At the very end, a verification finds it whole.
    """
    system = backed_up_system
    before = system.states()
    yield system
    assert before.items() <= system.states().items()
    shown = "\n".join(system.drtool.said)
    assert [name for name, secret in system.secrets().items() if secret in shown] == []


@pytest.fixture
def untouched(system: System) -> Iterator[System]:
    """The system; afterwards there is no new point, and nothing new in its folder but policies."""
    before = system.objects("snap/")
    files = _files(system.scene.directory)
    yield system
    assert system.objects("snap/") == before
    assert {path for path in _files(system.scene.directory) - files if "changed-" not in str(path)} == set()


def _files(directory: Path) -> set[Path]:
    return set(directory.iterdir())


@pytest.fixture
def kept(tmp_path: Path) -> Files:
    """A volume of files, and its repository in a directory."""
    (tmp_path / "repository").mkdir()
    return make_files(tmp_path, {"url": f"file://{tmp_path}/repository"})
