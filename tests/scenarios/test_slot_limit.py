"""A store that stays away: the slot is given up before it harms the server, and all mends itself afterwards."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.demo.servers.process import wait_until
from drtool.repository.storage.s3 import S3Store
from tests.conftest import S3Server
from tests.faults.proxy import Answer, FaultProxy, error
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.following import (
    Load,
    follower,
    is_streaming,
    status_of,
    wait_until_durable,
)
from tests.scenarios.scene import play
from tests.scenarios.stage import Stage, rows_of

MIB = 1 << 20
LIMIT_MIB, KEEP_MIB = 64, 512
MAJORS = [15, pytest.param(18, marks=pytest.mark.long)]  # three minutes each, and their slots are alike


@pytest.fixture(scope="module", params=MAJORS, ids=lambda major: f"postgresql-{major}")
def stage(request: pytest.FixtureRequest, s3_server: S3Server) -> Iterator[Stage]:
    s3 = s3_server.at(s3_server.plain)
    assert s3.endpoint is not None
    with play(request.param, "6.2", s3_server.at(s3_server.plain)) as scene, FaultProxy(s3.endpoint) as proxy:
        for name, value in (("max_wal_size", "64MB"), ("min_wal_size", "32MB")):
            scene.postgres.sql(f"alter system set {name} = '{value}'")
        scene.postgres.sql(f"alter system set max_slot_wal_keep_size = '{KEEP_MIB}MB'")
        scene.postgres.sql("select pg_reload_conf()")
        drtool = Commands.over(scene, s3_repository(s3, proxy.endpoint)).but(
            "postgres", tail_every="2s", slot_limit=f"{LIMIT_MIB}MiB"
        )
        drtool.init()
        drtool("backup", "postgres")
        with closing(S3Store(s3)) as store:
            yield Stage(scene, drtool, proxy, store)


def slots(server: PostgresServer) -> list[tuple[str, str, int]]:
    """Return of each slot its name, its state, and how much it keeps."""
    return server.sql(
        "select slot_name, wal_status, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8"
        " from pg_replication_slots"
    )


def write_noise(server: PostgresServer) -> None:
    server.sql("select pg_logical_emit_message(false, 'noise', repeat('x', 4000000))")
    server.sql("checkpoint")


def test_the_slot_is_given_up_in_time_and_a_new_base_is_taken_when_the_store_is_back(stage: Stage) -> None:
    server, drtool = stage.server, stage.drtool
    kept = []

    def is_dropped() -> bool:
        found = slots(server)
        kept.extend(found)
        if found:
            write_noise(server)
        return not found

    with follower(drtool) as process, Load(server) as load:
        wait_until(lambda: is_streaming(server), "it follows", deadline_s=90)
        stage.proxy.inject(Answer(503, error("SlowDown")), times=None)
        wait_until(is_dropped, "the slot is given up", deadline_s=120)
        assert "lost" not in {state for _, state, _ in kept}
        assert LIMIT_MIB * MIB < max(size for *_, size in kept) < KEEP_MIB * MIB
        for _ in range(40):
            write_noise(server)
        rows = load.rows[-1].id
        load.wait_for_more()
        assert load.rows[-1].id > rows, "the application goes on"
        assert slots(server) == [], "no new slot is made while the store is away"
        stage.proxy.clear()
        wait_until(lambda: is_streaming(server), "it follows again", deadline_s=90)
        wait_until_durable(server, stage.store)
        assert [fault for fault in status_of(drtool)["faults"] if "has a gap" in fault]
        [due] = drtool("backup", "postgres", "--due").value["volumes"]
        assert due["outcome"] == "done"
        assert "hole" in due["reason"]
        shown = status_of(drtool)
        assert not [fault for fault in shown["faults"] if "gap" in fault]
        assert shown["inside"]
        assert process.poll() is None
    assert load.until(datetime.fromisoformat(shown["newest"])) <= rows_of(stage, "mended")


def test_a_backlog_that_is_being_fetched_is_left_alone(stage: Stage) -> None:
    stage.drtool("wal", "catch-up")
    for _ in range(LIMIT_MIB // 2):
        write_noise(stage.server)
    [(name, state, size)] = slots(stage.server)
    assert size > LIMIT_MIB * MIB
    assert state != "lost"
    with follower(stage.drtool):
        wait_until_durable(stage.server, stage.store)
    assert [slot[0] for slot in slots(stage.server)] == [name]
    assert not [fault for fault in status_of(stage.drtool)["faults"] if "gap" in fault]


def test_a_catch_up_that_finds_no_store_gives_the_slot_up_too(stage: Stage) -> None:
    for _ in range(LIMIT_MIB // 2):
        write_noise(stage.server)
    stage.proxy.inject(Answer(503, error("SlowDown")), times=None)
    try:
        with Load(stage.server):
            said = stage.drtool("wal", "catch-up", code=75)
    finally:
        stage.proxy.clear()
    assert "was given up" in said.err
    assert slots(stage.server) == []
