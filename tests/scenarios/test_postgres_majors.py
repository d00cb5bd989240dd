"""The main job on each PostgreSQL major, through the command line: back up under load, lose it all, get it back.

The judges stand outside: a ledger of acknowledged commits, and the lost server's own commit timestamps.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from redis import Redis

from drtool.demo.forum import DATABASE, ROLE, Forum, read_posts
from drtool.demo.ledger import Ledger, Post
from drtool.demo.servers.postgres import PostgresServer, give
from drtool.demo.servers.process import wait_until
from drtool.demo.servers.redis import RedisServer
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.scene import Scene, play
from tests.sources.redis.support import contents, fill

ROLE_PASSWORD = "a-role-password"
PROOF = {"name": "posts", "sql": "select count(*) from post", "at_least": 5_000}
MORE = 150  # commits between two steps of the story
SLACK = timedelta(seconds=10)  # what a busy machine may put between a commit and the mark that covers it

Contents = dict[tuple[int, bytes], Any]


@dataclass(frozen=True)
class Loss:
    """What there was before all was lost: by the ledger, by the servers' own word, and by drtool's."""

    scene: Scene
    drtool: Commands
    tablespace: Path | None
    ledger: Ledger
    commits_a_second: float
    committed: dict[int, datetime]
    keys: Contents
    moment: datetime
    catch_up: dict[str, Any]
    points: list[dict[str, Any]]
    status: dict[str, Any]


@pytest.fixture(
    scope="module",
    params=[(15, "6.2", False), (17, "7.0", True), (18, "6.2", False)],
    ids=lambda one: f"postgresql-{one[0]}-redis-{one[1]}",
)
def loss(request: pytest.FixtureRequest, s3_server: S3Server) -> Iterator[Loss]:
    major, redis, has_tablespace = request.param
    with play(major, redis, s3_server.at(s3_server.plain)) as scene:
        scene.postgres.sql("alter system set track_commit_timestamp = on")
        scene.postgres.stop()
        scene.postgres.start()
        forum = Forum(scene.postgres, lambda: datetime.now(UTC))
        forum.create(ROLE_PASSWORD)
        tablespace = _tablespace(scene) if has_tablespace else None
        repository = s3_repository(s3_server.at(s3_server.versioned))
        drtool = Commands.over(scene, repository, ROLE_PASSWORD=ROLE_PASSWORD).but(
            "postgres", user=ROLE, password={"env": "ROLE_PASSWORD"}, database=DATABASE, proofs=[PROOF]
        )
        try:
            yield _lose(scene, drtool, forum, tablespace)
        finally:
            forum.close()


def _tablespace(scene: Scene) -> Path:
    """Move the forum's posts to a tablespace of their own."""
    place = scene.directory / "roomy"
    place.mkdir()
    give(place)
    scene.postgres.sql(f"create tablespace roomy location '{place}'")
    scene.postgres.sql("alter table post set tablespace roomy", dbname=DATABASE)
    return place


def _lose(scene: Scene, drtool: Commands, forum: Forum, tablespace: Path | None) -> Loss:
    """Back up while the forum writes, catch up twice, kill the servers as a power cut would, delete their data."""
    assert drtool("policy", "check").value["ok"]
    drtool.init()
    keys = _fill_redis(scene.redis)
    begun, before = time.monotonic(), len(forum.ledger)
    forum.open()
    backup = drtool("backup").value["volumes"]
    assert [volume["outcome"] for volume in backup] == ["done", "done"]
    _write_more(forum)
    drtool("wal", "catch-up")
    _write_more(forum)
    moment = forum.quiet_moment()
    _write_more(forum)
    catch_up = drtool("wal", "catch-up").value["catch_up"]
    points, status = drtool("points").value["points"], drtool("status").value["status"]
    _write_more(forum)
    forum.check_open()
    rate = (len(forum.ledger) - before) / (time.monotonic() - begun)
    committed = _commits(scene.postgres)
    scene.postgres.kill()
    scene.redis.kill()
    forum.close()
    for lost in (scene.postgres.data, scene.redis.data, *([tablespace] if tablespace else [])):
        rmtree(lost)
    return Loss(
        scene, drtool, tablespace, forum.ledger, rate, committed, keys, moment, catch_up, points, status
    )


def _fill_redis(server: RedisServer) -> Contents:
    with closing(Redis(port=server.port)) as first, closing(Redis(port=server.port, db=5)) as other:
        clients = {0: first, 5: other}
        fill(lambda _server, db=0: clients[db], server, int(time.time() * 1000))
    return _read_redis(server)


def _read_redis(server: RedisServer) -> Contents:
    with closing(Redis(port=server.port)) as first, closing(Redis(port=server.port, db=5)) as other:
        clients = {0: first, 5: other}
        return contents(lambda _server, db=0: clients[db], server)


def _write_more(forum: Forum) -> None:
    enough = len(forum.ledger) + MORE
    wait_until(lambda: len(forum.ledger) >= enough, "the forum has written more", deadline_s=30)


def _commits(server: PostgresServer) -> dict[int, datetime]:
    """Return when each post was committed, as the server itself recorded it."""
    rows = server.sql("select id, pg_xact_commit_timestamp(xmin) from post", dbname=DATABASE)
    return {number: moment.astimezone(UTC) for number, moment in rows}


def _restored(loss: Loss, name: str, *arguments: object) -> tuple[list[Post], dict[int, datetime]]:
    """Restore PostgreSQL into a new directory, start a server on it as it is, return its posts and their commits."""
    target = loss.scene.directory / name
    lost = loss.scene.postgres
    said = loss.drtool.restore("postgres", target, "--bin-dir", lost.bin_dir, *arguments)
    proofs = said.value["restore"]["proofs"]
    assert [proof for proof in proofs if not proof["ok"]] == []
    names = {proof["name"] for proof in proofs}
    assert {"pg_verifybackup", "pg_checksums", "posts", f"pg_amcheck of {DATABASE}"} <= names
    with PostgresServer(target, lost.bin_dir, password=lost.password, fast=True) as server:
        assert server.sql("show archive_mode") == [("off",)]
        return read_posts(server), _commits(server)


def test_the_forum_wrote_fifty_commits_a_second_or_more_all_the_while(loss: Loss) -> None:
    assert loss.commits_a_second >= 50


def test_points_are_intervals_that_end_where_the_last_catch_up_did(loss: Loss) -> None:
    by_volume = {point["volume"]: point for point in loss.points}
    assert {point["state"] for point in loss.points} == {"listed"}
    assert by_volume["postgres"]["end"] == loss.catch_up["moment"]
    assert by_volume["postgres"]["begin"] < loss.moment.isoformat() < by_volume["postgres"]["end"]
    for moment, code in ((loss.moment.isoformat(), 0), (datetime.now(UTC).isoformat(), 8)):
        loss.drtool("points", "postgres", "--at", moment, code=code)


def test_the_newest_restore_has_all_that_status_claims_and_no_row_that_was_never_written(loss: Loss) -> None:
    posts, commits = _restored(loss, "newest")
    claimed = next(volume for volume in loss.status["volumes"] if volume["volume"] == "postgres")
    newest = datetime.fromisoformat(claimed["newest"])
    for promised in (newest, datetime.fromisoformat(loss.catch_up["moment"])):
        until = loss.ledger.until(promised)
        comparison = until.compare(posts)
        assert (comparison.intact, comparison.lost, comparison.altered) == (len(until), (), ())
    assert loss.ledger.compare(posts).unknown == ()
    assert len({post.id for post in posts}) == len(posts)
    assert commits.items() <= loss.committed.items()
    assert max(commits.values()) - newest < SLACK
    at = datetime.fromisoformat(loss.status["at"])
    assert timedelta(seconds=claimed["exposure_seconds"]) >= at - newest


def test_a_restore_to_a_moment_has_exactly_the_rows_committed_by_then(loss: Loss) -> None:
    place = loss.tablespace
    elsewhere = ["--tablespace", f"{place}={loss.scene.directory / 'moved'}"] if place else []
    posts, commits = _restored(loss, "earlier", "--at", loss.moment.isoformat(), *elsewhere)
    then = loss.ledger.until(loss.moment)
    assert 5_000 < len(then) < len(loss.ledger)
    assert then.compare(posts).is_exact
    assert len(posts) == len(then)
    assert commits == {number: moment for number, moment in loss.committed.items() if moment <= loss.moment}


def test_redis_comes_back_with_every_key_as_it_was(loss: Loss) -> None:
    directory = loss.scene.directory / "redis-back"
    restored = loss.drtool.restore("redis", directory / "data").value["restore"]
    assert [proof for proof in restored["proofs"] if not proof["ok"]] == []
    server = RedisServer.create(loss.scene.redis.program, directory)
    server.start()
    try:
        assert _read_redis(server) == loss.keys
    finally:
        server.kill()
