"""A store that does not answer for long: the server is kept, and who is asked to end ends all the same, in time.

Kubernetes gives a pod of ours 60 seconds to end (drtool/deploy/pods.py); whoever takes longer is killed without a word.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from drtool.cli.ending import GRACE_S
from drtool.demo.servers.postgres import PostgresServer
from drtool.demo.servers.process import wait_until
from tests.conftest import S3Server
from tests.faults.proxy import Delay, Stall
from tests.scenarios.commands import Said, s3_repository
from tests.scenarios.files import make_files
from tests.scenarios.following import Load, durable_end, follower, is_streaming, wait_until_durable
from tests.scenarios.stage import Stage
from tests.scenarios.test_follow import stage_of

TIMEOUT_S = 2  # wal_sender_timeout: who is silent for so long is put out
STALL_S = 5 * TIMEOUT_S
HELD = 128  # MiB that a backup may have read before it waits for the store: packs under way, one filling, a socket
LONG_S = 300
AT_ONCE_S = 15  # nothing is left to be done but a last word, which may take 3 s


@pytest.fixture(scope="module")
def stage(s3_server: S3Server) -> Iterator[Stage]:
    with stage_of(s3_server, 18) as stage:
        stage.server.sql(f"alter system set wal_sender_timeout = '{TIMEOUT_S}s'")
        stage.server.sql("select pg_reload_conf()")
        yield stage


def put_out(stage: Stage) -> list[str]:
    """Return what the server's log tells of those whom it left because they were silent."""
    return [line for line in stage.server.log.read_text().splitlines() if "replication timeout" in line]


def test_a_server_that_puts_out_who_is_silent_keeps_a_follower_whose_store_stalls(stage: Stage) -> None:
    with follower(stage.drtool) as process, Load(stage.server) as load:
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        wait_until_durable(stage.server, stage.store)
        receiver = "select pid from pg_stat_replication where application_name = 'drtool'"
        before = stage.server.sql(receiver)
        stage.proxy.inject(Delay(STALL_S), when="/tail/")
        wait_until(lambda: stage.proxy.pending == 0, "a tail is on its way", deadline_s=30)
        begun, durable = time.monotonic(), durable_end(stage.store)
        load.wait_for_more()
        wait_until(lambda: durable_end(stage.store) > durable, "it arrives", deadline_s=60)
        assert time.monotonic() - begun > STALL_S - 1
        wait_until_durable(stage.server, stage.store)
        assert stage.server.sql(receiver) == before
        assert process.poll() is None
    assert put_out(stage) == []


def test_a_server_that_puts_out_who_is_silent_keeps_a_base_backup_whose_store_stalls(stage: Stage) -> None:
    stage.server.sql("create table noise (row bytea)")
    stage.server.sql("alter table noise alter row set storage external")
    stage.server.sql(
        "insert into noise select pg_read_binary_file('/dev/urandom', n - n, 1048576)"
        f" from generate_series(1, {HELD}) n"
    )
    stage.drtool("wal", "catch-up")
    stage.proxy.inject(Delay(STALL_S), times=None, when="PUT")
    with running(stage, "backup", "postgres") as process:
        is_held_up = HeldUp(stage.server)
        wait_until(is_held_up, "the server waits for who takes its backup", deadline_s=60)
        stage.proxy.clear()
        [volume] = stage.drtool.end(process).value["volumes"]
    assert (volume["outcome"], volume["notes"]) == ("done", [])
    assert put_out(stage) == []
    states = {point["name"]: point["state"] for point in stage.drtool("points", "postgres").value["points"]}
    assert states[volume["point"]] == "listed"


@dataclass
class HeldUp:
    """Tells whether a base backup has not moved for so long that who is silent is put out."""

    server: PostgresServer
    sent: object = None
    since: float = 0.0

    def __call__(self) -> bool:
        sent = self.server.sql(
            "select backup_streamed from pg_stat_progress_basebackup where backup_streamed > 0"
        )
        if sent != self.sent or not sent:
            self.sent, self.since = sent, time.monotonic()
        return time.monotonic() - self.since > 2 * TIMEOUT_S


@contextmanager
def running(stage: Stage, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = stage.drtool.start(*arguments)
    try:
        yield process
    finally:
        stage.proxy.clear()
        process.kill()
        process.communicate()


def ended(stage: Stage, process: subprocess.Popen[str]) -> tuple[float, Said]:
    """Ask a process to end; return how many seconds it took, and what it said."""
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = stage.drtool.end(process)
    return time.monotonic() - begun, said


def ended_amid_a_pack(stage: Stage, volume: str) -> None:
    """Assert that a backup ends at once when it is asked to while its store takes a pack and answers nothing."""
    stage.proxy.inject(Stall(LONG_S), times=None, when="PUT")
    stage.proxy.requests.clear()
    with running(stage, "backup", volume) as process:
        wait_until(
            lambda: any("/packs/" in path for _, path in stage.proxy.requests),
            "a pack is on its way",
            deadline_s=60,
        )
        seconds, said = ended(stage, process)
    assert said.code == 143
    assert said.error["message"] == "terminated"
    assert seconds < AT_ONCE_S


@pytest.mark.parametrize("volume", ["postgres", "redis"])
def test_a_backup_whose_store_stalls_ends_at_once_when_it_is_asked_to(stage: Stage, volume: str) -> None:
    points = {found.name for found in stage.store.list("snap/")}
    ended_amid_a_pack(stage, volume)
    assert {found.name for found in stage.store.list("snap/")} == points


def test_a_backup_of_files_whose_store_stalls_ends_at_once_when_it_is_asked_to(
    stage: Stage, s3_server: S3Server, tmp_path: Path
) -> None:
    keys = {name: stage.drtool.environment[name] for name in ("SCENE_ACCESS_KEY", "SCENE_SECRET_KEY")}
    place = s3_repository(s3_server.at(s3_server.plain), stage.proxy.endpoint)
    files = make_files(tmp_path, place, **keys)
    ended_amid_a_pack(replace(stage, drtool=files.drtool), "media")
    assert files.points() == []
    assert files.backup()["outcome"] == "done"


def test_a_follower_whose_store_stalls_ends_in_time_when_it_is_asked_to(stage: Stage) -> None:
    with follower(stage.drtool) as process, Load(stage.server):
        wait_until(lambda: is_streaming(stage.server), "it follows", deadline_s=90)
        stage.proxy.inject(Stall(LONG_S), times=None, when="PUT")
        try:
            known = len(stage.proxy.requests)
            wait_until(lambda: len(stage.proxy.requests) > known, "a tail is on its way", deadline_s=30)
            seconds, said = ended(stage, process)
        finally:
            stage.proxy.clear()
    assert said.code == 143
    assert seconds < GRACE_S + AT_ONCE_S
