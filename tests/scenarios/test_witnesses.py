"""The newest WAL that is gone, from a store without versions: what the follower told of it is missed by everybody."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.demo.servers.process import wait_until
from drtool.operations.follow import run_follow
from drtool.operations.session import KeyFiles, Silent, World, open_session
from drtool.operations.slot_watch import SlotWatch
from drtool.policy.load import load_policy
from drtool.sources.postgres.wal import parse_lsn
from tests.conftest import S3Server
from tests.scenarios.following import (
    Load,
    durable_end,
    follower,
    is_streaming,
    status_of,
    wait_until_durable,
)
from tests.scenarios.stage import Stage, rows_of
from tests.scenarios.test_follow import stage_of
from tests.sources.postgres.standins import in_background

SEEN = "saw it durable up to"


@pytest.fixture(scope="module")
def stage(s3_server: S3Server) -> Iterator[Stage]:
    with stage_of(s3_server, 18) as stage:
        yield stage


def test_what_a_follower_told_at_its_end_is_missed_until_a_backup_begins_anew(
    stage: Stage, tmp_path: Path
) -> None:
    with follower(stage.drtool) as process, Load(stage.server) as load:
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        load.wait_for_more()
        wait_until_durable(stage.server, stage.store)
        process.send_signal(signal.SIGTERM)
        assert stage.drtool.end(process).code == 0
    assert told(stage, tmp_path / "whole") == []

    lose_tails(stage, durable_end(stage.store))

    told_by = told(stage, tmp_path / "lost")
    assert len(told_by) == 3, told_by
    assert all("but run runs/" in each for each in told_by)
    stage.drtool.restore("postgres", tmp_path / "accepted", "--accept-loss", "--dry-run")
    stage.drtool("backup", "postgres")
    assert told(stage, tmp_path / "anew") == []
    assert {row.id for row in load.rows} <= rows_of(stage, "anew")


def test_what_a_follower_tells_while_it_is_at_work_is_missed_though_it_never_came_to_its_end(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drtool.operations.follow.MARK_EVERY_S", 0.5)
    world = World(lambda: datetime.now(UTC), {**os.environ, **stage.drtool.environment}, Silent())
    keys = KeyFiles(bundle=stage.drtool.bundle)
    known = stage.runs()
    with SlotWatch(load_policy(stage.drtool.policy), "postgres", keys, world) as watch:
        run = in_background(
            lambda: run_follow(
                lambda: open_session(stage.drtool.policy, None, keys, world), world, "postgres", watch
            )
        )
        try:
            with Load(stage.server) as load:
                wait_until(lambda: len(stage.runs()) >= len(known) + 4, "it tells marks", deadline_s=60)
                load.wait_for_more()
            end = parse_lsn(wait_until_durable(stage.server, stage.store))
            wait_until(lambda: is_quiet(stage), "it has told the last one", deadline_s=60)
            marks = stage.runs()
            stage.server.sql("select pg_log_standby_snapshot()")  # as it does by itself at any moment
        finally:
            world.ending.set()
            run.result(60)
    for name in set(stage.runs()) - set(marks):
        stage.store.delete(name)  # as if it had been killed

    lose_tails(stage, end)

    assert len(told(stage, tmp_path / "lost")) == 3


def is_quiet(stage: Stage) -> bool:
    """Tell whether the follower left two marks without a word: an idle server has nothing to tell."""
    runs, tails = stage.runs(), len(list(stage.store.list("tail/")))
    wait_until(lambda: len(list(stage.store.list("tail/"))) >= tails + 2, "marks come", deadline_s=30)
    return stage.runs() == runs


def lose_tails(stage: Stage, end: int) -> None:
    """Delete all that tells of WAL up to an LSN: the tails that end there or later, and the marks behind them."""
    for found in list(stage.store.list("tail/")):
        if int(found.name.rsplit("-", 2)[1], 16) >= end:
            stage.store.delete(found.name)


def told(stage: Stage, target: Path) -> list[str]:
    """Return what status, points and a restore tell of WAL that somebody saw and that is not there."""
    faults = status_of(stage.drtool)["faults"]
    details = [point["detail"] for point in stage.drtool("points", "postgres").value["points"]]
    said = stage.drtool.restore("postgres", target, "--dry-run", code=(0, 5))
    refused = [said.error["message"]] if said.code else []
    return [each for each in (*faults, *details, *refused) if SEEN in each]
