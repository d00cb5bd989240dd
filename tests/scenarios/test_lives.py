"""A system that is restored into production, lives on with a new writer, and is restored again."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.repository.storage.s3 import S3Store
from drtool.repository.storage.settings import S3Settings
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, Said, policy_of, s3_repository
from tests.scenarios.scene import Scene, play


@dataclass
class Lives:
    """The commands of each life with the bundle of its writer, and the databases that run."""

    scene: Scene
    s3: S3Settings
    lives: list[Commands]
    restored: list[PostgresServer] = field(default_factory=list)

    @property
    def now(self) -> Commands:
        return self.lives[-1]

    def restore(self, name: str, *arguments: object) -> PostgresServer:
        target = self.scene.directory / name
        self.lives[0].restore("postgres", target, "--bin-dir", self.scene.postgres.bin_dir, *arguments)
        return PostgresServer(
            target, self.scene.postgres.bin_dir, password=self.scene.postgres.password, fast=True
        )

    def rows(self, name: str, *arguments: object) -> list[str]:
        with self.restore(name, *arguments) as server:
            return rows_of(server)

    def enrol(self, server: PostgresServer) -> Said:
        """Begin another life, with server for its database."""
        following = self.lives[0].but("postgres", port=server.port)
        following.bundle.unlink()
        said = enrol(self.lives[0], following.bundle)
        self.lives.append(following)
        return said

    def lineages(self) -> set[str]:
        with closing(S3Store(self.s3)) as store:
            return {found.name.split("/")[2].rsplit("-", 1)[1] for found in store.list("tail/postgres/")}


def enrol(drtool: Commands, bundle: Path, *arguments: object, code: int = 0) -> Said:
    sheet = drtool.kit.with_name(f"{drtool.kit.name}.admin")
    given = ("--admin-key-file", sheet, "--bundle", bundle, *arguments)
    return drtool.operator("keys", "enrol", *given, code=code)


def rows_of(server: PostgresServer) -> list[str]:
    return [text for (text,) in server.sql("select text from post order by text")]


def backed_up(drtool: Commands, *arguments: object) -> datetime:
    """Back everything up, catch up, and return the moment that is covered then."""
    drtool("backup", *arguments)
    return caught_up(drtool)


def caught_up(drtool: Commands) -> datetime:
    found = drtool("wal", "catch-up").value["catch_up"]
    assert found["restorable"]
    return datetime.fromisoformat(found["moment"])


def status(drtool: Commands) -> dict[str, Any]:
    found: dict[str, Any] = drtool("status").value["status"]
    return found


@pytest.fixture
def lives(s3_server: S3Server) -> Iterator[Lives]:
    s3 = s3_server.at(s3_server.plain)
    with play(17, "6.2", s3_server.at(s3_server.plain)) as scene:
        files = scene.directory / "media"
        files.mkdir()
        (files / "song").write_bytes(b"la" * 100_000)
        content = policy_of(scene, s3_repository(s3), "lives")
        content["volumes"].append({"name": "media", "source": "files", "path": str(files)})
        drtool = Commands(scene.directory / "first", content, scene.environment).written()
        drtool.init()
        scene.postgres.sql("create table post (text text)")
        found = Lives(scene, s3, [drtool])
        yield found
        for server in found.restored:
            server.kill()


def live_on(lives: Lives, name: str, *arguments: object) -> PostgresServer:
    """Restore the database into production, enrol its writer, and return the server."""
    server = lives.restore(name, *arguments)
    lives.restored.append(server)
    server.start()
    lives.enrol(server)
    return server


def test_a_restored_system_lives_on_and_points_of_all_lives_come_back(lives: Lives) -> None:
    first = lives.now
    lives.scene.postgres.sql("insert into post values ('first')")
    when_first = backed_up(first)
    reader = lives.scene.directory / "reader.json"
    first("keys", "reader", reader)

    second = live_on(lives, "second")
    assert set(status(lives.now)["faults"]) >= {
        f"{volume} has no point since the system was restored: run `drtool backup {volume}`"
        for volume in ("postgres", "redis", "media")
    }
    taken = lives.now("backup", "--due").value["volumes"]
    assert {each["volume"]: each["outcome"] for each in taken} == dict.fromkeys(
        ("postgres", "redis", "media"), "done"
    )
    assert all("since the system was restored" in each["reason"] for each in taken)
    second.sql("insert into post values ('second')")
    caught_up(lives.now)

    points = lives.now("points").value["points"]
    assert {(each["volume"], each["writer"], each["state"]) for each in points} == {
        (volume, writer, "listed")
        for volume in ("postgres", "redis", "media")
        for writer in ("writer-1", "writer-2")
    }
    after = status(lives.now)
    assert all(each["inside"] for each in after["volumes"])
    assert not [each for each in after["faults"] if "restored" in each]
    lives.now("verify", "--level", "L0")
    assert lives.rows("newest") == ["first", "second"]
    assert lives.rows("earlier", "--at", when_first.isoformat()) == ["first"]
    lives.lives[0].restore("media", lives.scene.directory / "media-again")
    assert (lives.scene.directory / "media-again/song").read_bytes() == b"la" * 100_000

    refused = first("backup", code=5).error
    assert refused["message"].startswith("writer-1 ended at ")
    first("status", code=5)
    seen = first.alone(
        "status", "--repository", first.content["repository"]["url"],
        "--endpoint", first.content["repository"]["endpoint"], "--bundle", reader,
    )  # fmt: skip
    assert any("1 of 2 writers" in each for each in seen.value["status"]["faults"])


def test_the_old_primary_of_a_restored_system_is_refused_and_leaves_nothing(lives: Lives) -> None:
    lives.now("backup", "postgres")
    live_on(lives, "second")
    lives.now("backup", "postgres")
    old_primary = lives.now.but("postgres", port=lives.scene.postgres.port)
    refused = old_primary("backup", "postgres", code=5).error
    assert "is on timeline 1, and timeline 2 was received before" in refused["message"]
    points = lives.now("points", "postgres").value["points"]
    assert [each["state"] for each in points] == ["listed", "listed"]
    assert lives.now("verify", "--level", "L0").value["verification"]["unfinished"] == []


def test_two_restores_of_the_same_points_each_end_with_wal_of_their_own(lives: Lives) -> None:
    lives.scene.postgres.sql("insert into post values ('first')")
    when_first = backed_up(lives.now)
    for number, name in enumerate(("second", "third"), 2):
        server = live_on(lives, name, "--at", when_first.isoformat())
        assert rows_of(server) == ["first"]
        assert lives.now("backup", "postgres").value["volumes"][0]["outcome"] == "done"
        server.sql(f"insert into post values ('{name}')")
        caught_up(lives.now)
        assert lives.lineages() == {str(each) for each in range(1, number + 1)}
    assert lives.rows("newest") == ["first", "third"]
    for ended in lives.lives[:-1]:
        ended("wal", "catch-up", code=5)


def test_enrolling_tries_first_and_overwrites_nothing(lives: Lives) -> None:
    bundle = lives.scene.directory / "new.json"
    said = enrol(lives.now, bundle, "--dry-run").value
    assert (said["enrolment"]["writer"], said["enrolment"]["ended"], said["dry_run"]) == (
        "writer-2",
        ["writer-1"],
        True,
    )
    assert not bundle.exists()
    lives.now("backup", "redis")
    bundle.write_text("a key")
    enrol(lives.now, bundle, code=5)
    assert bundle.read_text() == "a key"
    lives.now("backup", "redis")
