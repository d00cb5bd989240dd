"""What `status` shows is held to a ledger outside of the servers, under load: never less than what would be lost."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.operations.receiving import Following, reach_instance, receive_or_gap
from drtool.operations.session import KeyFiles, Session, Silent, World, open_session
from drtool.operations.settings import postgres_volume
from drtool.operations.status import run_status
from tests.conftest import S3Server
from tests.scenarios.commands import Commands
from tests.scenarios.scene import Scene, play

TAIL_EVERY = timedelta(seconds=2)
SLACK = timedelta(seconds=5)
LOOKS = 3


@dataclass
class Ledger:
    """Rows that the server acknowledged, and when."""

    acknowledged: dict[int, datetime] = field(default_factory=dict)

    def write(self, server: PostgresServer, until: threading.Event) -> None:
        """Insert row after row, each a transaction of its own."""
        while not until.is_set():
            number = len(self.acknowledged)
            server.sql("insert into ledger values (%s)", number)
            self.acknowledged[number] = datetime.now(UTC)

    def lost(self, restored: set[int], at: datetime) -> timedelta:
        """Return what was really lost by a disaster at that moment: since the first row that did not come back."""
        missing = [
            moment for number, moment in self.acknowledged.items() if number not in restored and moment <= at
        ]
        return at - min(missing, default=at)


@dataclass(frozen=True)
class Look:
    """What status said at a moment, and the store as it was then."""

    at: datetime
    exposure: timedelta
    drtool: Commands


@pytest.fixture(scope="module")
def scene(s3_server: S3Server) -> Iterator[Scene]:
    with play(18, "6.2", s3_server.at(s3_server.plain)) as made:
        yield made


def over(scene: Scene, name: str, **more: Any) -> Commands:
    store = scene.directory / f"{name}-store"
    store.mkdir()
    drtool = Commands.over(scene, {"url": f"file://{store}"}, name)
    for volume, changes in more.items():
        drtool = drtool.but(volume, **changes)
    drtool.init()
    return drtool


def session_of(drtool: Commands, moment: datetime | None = None) -> Session:
    world = World(lambda: moment or datetime.now(UTC), {**os.environ, **drtool.environment}, Silent())
    return open_session(drtool.policy, None, KeyFiles(bundle=drtool.bundle), world)


@contextmanager
def running(*works: Any) -> Iterator[None]:
    """Run works, each in a thread and told to end by an event, while the body runs."""
    ending = threading.Event()
    threads = [threading.Thread(target=work, args=(ending,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def look(scene: Scene, drtool: Commands, number: int) -> Look:
    """Keep the store as it is, and what status says of it a moment later. Objects never change, so links do."""
    copy = scene.directory / f"look-{number}"
    shutil.copytree(
        Path(drtool.content["repository"]["url"].removeprefix("file://")), copy, copy_function=os.link
    )
    at = datetime.now(UTC)  # what comes while it is copied may be in the copy
    then = drtool.but("repository", url=f"file://{copy}")
    [postgres, _] = run_status(session_of(then, at)).volumes
    assert postgres.exposure is not None
    return Look(at, postgres.exposure, then)


def restored(scene: Scene, seen: Look, directory: Path) -> set[int]:
    seen.drtool.restore("postgres", directory, "--bin-dir", scene.postgres.bin_dir)
    with PostgresServer(
        directory, scene.postgres.bin_dir, password=scene.postgres.password, fast=True
    ) as server:
        return {number for (number,) in server.sql("select id from ledger")}


def test_the_exposure_of_postgresql_is_the_true_loss_and_little_more(scene: Scene) -> None:
    scene.postgres.sql("create table ledger (id int primary key)")
    drtool = over(scene, "followed", postgres={"tail_every": "2s"})
    drtool("backup", "postgres")
    session, ledger, looks = session_of(drtool), Ledger(), list[Look]()
    volume = postgres_volume(session.need_policy(), "postgres")

    def follow(ending: threading.Event) -> None:
        receive_or_gap(session, reach_instance(session, volume), Following(ending.is_set))

    with running(follow, lambda ending: ledger.write(scene.postgres, ending)):
        for number in range(LOOKS):
            since, deadline = len(ledger.acknowledged), time.monotonic() + 60
            while (
                len(ledger.acknowledged) < since + 30
                or datetime.now(UTC) - ledger.acknowledged[since] < TAIL_EVERY
            ):
                assert time.monotonic() < deadline, "the load does not move"
                time.sleep(0.05)
            looks.append(look(scene, drtool, number))

    losses = [timedelta(0)]
    for number, seen in enumerate(looks):
        rows = restored(scene, seen, scene.directory / f"restored-{number}")
        lost = ledger.lost(rows, seen.at)
        assert lost <= seen.exposure <= lost + TAIL_EVERY + SLACK, (number, lost, seen.exposure)
        losses.append(lost)
    assert max(losses) > timedelta(0)  # one look may come just after a tail, not all of them


def test_the_exposure_of_other_volumes_counts_from_where_their_newest_capture_began(scene: Scene) -> None:
    drtool = over(scene, "captured")
    begun = datetime.now(UTC)
    drtool("backup", "redis")
    ended = datetime.now(UTC)
    status = run_status(session_of(drtool))
    [_, redis] = status.volumes
    assert redis.exposure is not None
    assert status.at - ended <= redis.exposure <= status.at - begun
    later = run_status(session_of(drtool, ended + timedelta(minutes=20)))
    [_, redis] = later.volumes
    assert redis.exposure is not None
    assert timedelta(minutes=20) <= redis.exposure <= timedelta(minutes=20) + (ended - begun)
    assert not redis.inside
    assert any("that was due at" in text for text in (*redis.overdue,))
