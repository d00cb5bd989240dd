"""`wal follow` on a real server under load: what it says is durable is, whoever is killed, and nothing needs a hand.

The judge is a ledger of acknowledged commits with their LSNs, and the names of the objects in the store.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.demo.servers.process import wait_until
from drtool.operations.follow import run_follow
from drtool.operations.session import KeyFiles, Session, Silent, World, open_session
from drtool.operations.slot_watch import SlotWatch
from drtool.policy.load import load_policy
from drtool.repository.config import Epoch
from drtool.repository.kit import parse_seed
from drtool.repository.repository import put_config
from drtool.repository.storage.s3 import S3Store
from drtool.repository.wal import lineages
from tests.conftest import S3Server
from tests.faults.proxy import Answer, FaultProxy, error
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.following import (
    TAIL_EVERY_S,
    Load,
    Relay,
    durable_end,
    follower,
    is_streaming,
    status_of,
    wait_until_durable,
)
from tests.scenarios.scene import play
from tests.scenarios.stage import Stage, rows_of
from tests.sources.postgres.standins import in_background, standby_of

CLOCK = timedelta(seconds=1)  # S3 tells its time to the second
UPLOAD = timedelta(seconds=5)
MIB = 1 << 20


@contextmanager
def stage_of(s3_server: S3Server, major: int) -> Iterator[Stage]:
    s3 = s3_server.at(s3_server.plain)
    assert s3.endpoint is not None
    with play(major, "6.2", s3_server.at(s3_server.plain)) as scene, FaultProxy(s3.endpoint) as proxy:
        drtool = Commands.over(scene, s3_repository(s3, proxy.endpoint)).but(
            "postgres", tail_every=f"{TAIL_EVERY_S}s"
        )
        drtool.init()
        drtool("backup", "postgres")
        with closing(S3Store(s3)) as store:
            yield Stage(scene, drtool, proxy, store)


@pytest.fixture(scope="module")
def stage(s3_server: S3Server) -> Iterator[Stage]:
    with stage_of(s3_server, 18) as stage:
        yield stage


def test_the_shown_exposure_is_the_true_loss_whoever_is_killed(stage: Stage) -> None:
    promised: list[datetime] = []
    with Load(stage.server) as load:
        for _ in range(3):
            with follower(stage.drtool) as process:
                wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
                wait_until_durable(stage.server, stage.store)
                for _ in range(4):
                    promised.append(_sample(stage, load))
                    load.wait_for_more()
                assert process.poll() is None
                process.kill()
                process.wait()
                promised.append(_sample(stage, load))
        with follower(stage.drtool) as process:
            wait_until_durable(stage.server, stage.store)
            process.send_signal(signal.SIGTERM)
            ended = stage.drtool.end(process)
    assert ended.code == 0, ended.err
    follow = ended.value["follow"]
    restored = rows_of(stage, "newest")
    for moment in (*promised, datetime.fromisoformat(follow["moment"])):
        assert load.until(moment) <= restored


def _sample(stage: Stage, load: Load) -> datetime:
    """Hold one `status` against the ledger; return the moment up to which it promises everything."""
    before = durable_end(stage.store)
    shown = status_of(stage.drtool)
    after = durable_end(stage.store)
    newest, at = datetime.fromisoformat(shown["newest"]), datetime.fromisoformat(shown["at"])
    rows = list(load.rows)
    assert [row for row in rows if row.moment <= newest and row.lsn > after] == [], (
        "it promises what is not there"
    )
    missing = min((row.moment for row in rows if row.lsn > before), default=at)
    true_loss = max(at - missing, timedelta(0))
    exposure = timedelta(seconds=shown["exposure_seconds"])
    assert exposure <= true_loss + timedelta(seconds=TAIL_EVERY_S) + UPLOAD + CLOCK
    return newest


def test_a_catch_up_and_a_backup_leave_the_work_to_a_follower(stage: Stage) -> None:
    with follower(stage.drtool) as process, Load(stage.server):
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        wait_until_durable(stage.server, stage.store)
        runs = stage.runs()
        said = stage.drtool("wal", "catch-up")
        assert said.value["catch_up"]["by_follower"]
        assert "a follower is at work" in said.value["verdict"]
        assert stage.runs() == runs
        [backup] = stage.drtool("backup", "postgres").value["volumes"]
        assert backup["notes"] == []
        assert process.poll() is None
    states = {point["name"]: point["state"] for point in stage.drtool("points", "postgres").value["points"]}
    assert states[backup["point"]] == "listed"


def test_a_follower_that_hangs_is_not_called_one_that_keeps_up(stage: Stage) -> None:
    with follower(stage.drtool) as process:
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: _hangs(stage), "it is said to hang", deadline_s=90)
        assert "nothing came from it lately" in stage.drtool.said[-1]


def _hangs(stage: Stage) -> bool:
    return stage.drtool.end(stage.drtool.start("wal", "catch-up")).code == 75


def test_an_idle_server_costs_marks_only(stage: Stage) -> None:
    with follower(stage.drtool) as process:
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        runs = stage.runs()
        quiet = time.monotonic() + 60
        # Many tails are folded into one, once, also when idle: then it is looked again.
        while not _are_marks(new := _put_while_idle(stage)):
            assert time.monotonic() < quiet, f"WAL was written all the time, or kept more than once: {new}"
        assert stage.runs() == runs
        assert process.poll() is None


def _are_marks(names: set[str]) -> bool:
    """Tell whether there are objects, and none of them holds any WAL: its span is empty."""
    spans = [name.rsplit(".", 1)[1].split("-") for name in names]
    return bool(spans) and all(span[0] == span[1] for span in spans)


def _put_while_idle(stage: Stage) -> set[str]:
    """Three new names under tail/, or none if the server wrote WAL meanwhile: it logs a snapshot after 15 s."""
    wait_until_durable(stage.server, stage.store)
    before = stage.server.sql("select pg_current_wal_insert_lsn()::text")
    known = _tails(stage)
    wait_until(lambda: len(_tails(stage) - known) >= 3, "marks come", deadline_s=30)
    new = _tails(stage) - known
    return new if stage.server.sql("select pg_current_wal_insert_lsn()::text") == before else set()


def _tails(stage: Stage) -> set[str]:
    return {found.name for found in stage.store.list("tail/")}


def test_a_server_that_restarts_and_a_connection_that_is_cut_need_no_hand(stage: Stage) -> None:
    with follower(stage.drtool) as process, Load(stage.server) as load:
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        begun = time.monotonic()
        stage.server.stop("fast")
        assert time.monotonic() - begun < 10
        stage.server.start()
        load.wait_for_more()
        wait_until_durable(stage.server, stage.store)
        stage.server.kill()
        stage.server.start()
        load.wait_for_more()
        wait_until_durable(stage.server, stage.store)
        stage.server.sql("select pg_terminate_backend(pid) from pg_stat_replication")
        load.wait_for_more()
        wait_until_durable(stage.server, stage.store)
        process.send_signal(signal.SIGTERM)
        assert stage.drtool.end(process).code == 0
    assert stage.drtool("wal", "catch-up").value["catch_up"]["restorable"]


def test_a_store_that_is_away_is_waited_out_with_the_connection_alive(stage: Stage) -> None:
    stage.server.sql("alter system set wal_sender_timeout = '2s'")
    stage.server.sql("select pg_reload_conf()")
    with follower(stage.drtool) as process, Load(stage.server) as load:
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        [(pid,)] = stage.server.sql("select pid from pg_stat_replication where application_name = 'drtool'")
        stage.proxy.inject(Answer(503, error("SlowDown")), times=None)
        durable = durable_end(stage.store)
        until = datetime.now(UTC) + timedelta(seconds=8)
        wait_until(lambda: datetime.now(UTC) > until, "the outage lasts", deadline_s=20)
        assert [(pid,)] == stage.server.sql(
            "select pid from pg_stat_replication where application_name = 'drtool'"
        )
        assert durable_end(stage.store) == durable
        stage.proxy.clear()
        load.wait_for_more()
        wait_until_durable(stage.server, stage.store)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert stage.drtool.end(process).code == 0


def test_a_store_that_is_away_costs_no_memory_however_much_is_written(stage: Stage) -> None:
    with follower(stage.drtool) as process:
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        wait_until_durable(stage.server, stage.store)
        before = _largest(process.pid)
        stage.proxy.inject(Answer(503, error("SlowDown")), times=None)
        try:
            stage.server.sql(
                "create table bulk as select repeat(md5(n::text), 250) x from generate_series(1, 30000) n"
            )
            stage.server.sql("alter table bulk alter x set storage external")
            stage.server.sql("insert into bulk select x || x from bulk limit 20000")
            sent = "select sent_lsn - flush_lsn from pg_stat_replication where application_name = 'drtool'"
            wait_until(
                lambda: stage.server.sql(sent)[0][0] > 32 * MIB, "more than it holds is sent", deadline_s=60
            )
            assert _largest(process.pid) - before < 100 * MIB
        finally:
            stage.proxy.clear()
        wait_until_durable(stage.server, stage.store, deadline_s=120)
        assert _largest(process.pid) - before < 100 * MIB


def _largest(pid: int) -> int:
    """Return the largest resident set that a process ever had, in bytes."""
    [line] = [
        each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM")
    ]
    return int(line.split()[1]) * 1024


def test_a_follower_that_is_started_while_the_store_is_away_waits_for_it(stage: Stage) -> None:
    stage.proxy.inject(Answer(503, error("SlowDown")), times=None)
    with follower(stage.drtool) as process:
        requests = len(stage.proxy.requests)
        wait_until(lambda: len(stage.proxy.requests) > requests + 5, "it asks again", deadline_s=60)
        stage.proxy.clear()
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=60)
        process.send_signal(signal.SIGTERM)
        assert stage.drtool.end(process).code == 0


def test_asked_to_end_while_the_store_is_away_it_ends_soon_and_says_so(stage: Stage) -> None:
    with follower(stage.drtool) as process:
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        stage.proxy.inject(Answer(503, error("SlowDown")), times=None)
        try:
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            said = stage.drtool.end(process)
            assert time.monotonic() - begun < 25
        finally:
            stage.proxy.clear()
    assert said.code == 75, said.err


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"password": {"env": "HOME"}}, 6, "refuses the password"),
        ({"user": "nobody_at_all"}, 6, "refuses the password"),
    ],
)
def test_a_refusal_that_stands_ends_the_follower(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], code: int, message: str
) -> None:
    monkeypatch.setattr("drtool.operations.follow.SURE_S", 1.0)
    said = stage.drtool.but("postgres", **changes)("wal", "follow", code=code)
    assert message in said.error["message"]


def test_a_failover_to_a_new_timeline_is_followed_without_a_gap(stage: Stage) -> None:
    with TemporaryDirectory(prefix="drtool-standby-") as directory:
        Path(directory).chmod(0o755)
        standby = standby_of(stage.server, Path(directory))
        try:
            _fail_over(stage, standby)
        finally:
            standby.kill()
            stage.server.start()


def _fail_over(stage: Stage, standby: PostgresServer) -> None:
    with Relay(stage.server.port) as relay:
        drtool = stage.drtool.but("postgres", port=relay.port)
        with follower(drtool) as process:
            wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
            with Load(stage.server) as load:
                load.wait_for_more()
            written = wait_until_durable(stage.server, stage.store)
            wait_until(
                lambda: standby.sql("select pg_last_wal_replay_lsn() >= %s::pg_lsn", written)[0][0],
                "the standby has it all",
                deadline_s=60,
            )
            stage.server.kill()
            standby.sql("select pg_promote()")
            relay.lead_to(standby.port)
            with Load(standby) as load:
                load.wait_for_more()
            wait_until_durable(standby, stage.store)
            process.send_signal(signal.SIGTERM)
            follow = drtool.end(process).value["follow"]
    assert (follow["timeline"], follow["gaps"]) == (2, [])
    [newest] = {
        point["end"] for point in drtool("points", "postgres").value["points"] if point["state"] == "listed"
    }
    assert datetime.fromisoformat(newest) > load.rows[-1].moment


def test_each_newer_config_is_followed_into_the_epoch_that_it_opens(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comes while the follower opens the repository, another one while it is at work."""
    monkeypatch.setattr("drtool.operations.follow.CONFIG_EVERY_S", 0.2)
    drtool = stage.drtool
    world = World(lambda: datetime.now(UTC), {**os.environ, **drtool.environment}, Silent())
    keys = KeyFiles(bundle=drtool.bundle)
    opened: list[int] = []

    def opening() -> Session:
        session = open_session(drtool.policy, None, keys, world)
        opened.append(session.repository.config.number)
        if len(opened) == 1:
            open_next_epoch(stage, session)
        return session

    with SlotWatch(load_policy(drtool.policy), "postgres", keys, world) as watch:
        run = in_background(lambda: run_follow(opening, world, "postgres", watch))
        try:
            wait_until(lambda: epochs(stage) == {1, 2}, "the second epoch is received", deadline_s=60)
            with closing(open_session(drtool.policy, None, keys, world)) as session:
                open_next_epoch(stage, session)
            wait_until(lambda: epochs(stage) == {1, 2, 3}, "the third epoch is received", deadline_s=60)
            wait_until_durable(stage.server, stage.store)
        finally:
            world.ending.set()
        assert run.result(30).lineage.endswith("-3")
    assert opened == [0, 1, 2]


def open_next_epoch(stage: Stage, session: Session) -> None:
    """Put a config that opens another epoch, as the admin does."""
    repository = session.repository
    number = repository.config.number + 1
    [known] = {
        (label.volume, label.system, label.major) for label in lineages(repository.records, "postgres")
    }
    sheet = stage.drtool.kit.with_name(f"{stage.drtool.kit.name}.admin").read_text()
    config = replace(
        repository.config,
        number=number,
        previous=repository.config_sha256.hex(),
        epochs=[*repository.config.epochs, Epoch(*known, epoch=number + 1)],
    )
    put_config(repository.store, config, parse_seed(sheet, "ADMIN"))


def epochs(stage: Stage) -> set[int]:
    return {int(found.name.split("/")[2].rsplit("-", 1)[1]) for found in stage.store.list("tail/postgres/")}
