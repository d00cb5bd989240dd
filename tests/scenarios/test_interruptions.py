"""Backups that are ended, that meet another one, that come too late, and that have nothing to capture."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.demo.servers.process import wait_until
from drtool.demo.servers.redis import RedisServer
from drtool.policy.take_over import TAKE_OVER
from drtool.repository.kit import parse_bundle
from drtool.sources.postgres.connection import Replication
from drtool.sources.postgres.slot import slot_name
from drtool.sources.postgres.wal import parse_lsn
from drtool.sources.postgres.wal_stream import WalStream
from tests.faults.proxy import Answer, FaultProxy, Stall, error
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.conftest import System

END_S = 20
BOTOS_OWN_ATTEMPTS = 3
MAX_RUN_S = 2


@contextmanager
def running(drtool: Commands, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a process of its own, which is gone afterwards."""
    process = drtool.start(*arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_backup_that_is_terminated_ends_with_143_and_lists_nothing(untouched: System) -> None:
    for volume in ("postgres", "redis"):
        untouched.proxy.inject(Stall(2), when="packs/")
        with running(untouched.proxied, "backup", volume) as process:
            wait_until(
                lambda: untouched.proxy.pending == 0, "the backup uploads its first pack", deadline_s=END_S
            )
            process.send_signal(signal.SIGTERM)
            said = untouched.drtool.end(process)
        assert said.code == 143
        assert said.error["message"] == "terminated"
        assert last_failures(untouched)[volume] == f"{volume}: was ended before it was done"


def test_the_run_after_a_terminated_one_needs_no_hand(system: System) -> None:
    assert {volume["outcome"] for volume in system.drtool("backup").value["volumes"]} == {"done"}
    assert set(last_failures(system).values()) == {""}


def last_failures(system: System) -> dict[str, str]:
    """Return what status says that the newest run of each volume failed with."""
    status = system.drtool("status").value["status"]
    return {each["volume"]: each["last_failure"] for each in status["volumes"]}


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_backup_that_waits_for_a_store_that_is_away_ends_at_once_when_it_is_told_to(
    system: System, signum: signal.Signals, code: int
) -> None:
    repository = {"url": f"s3://plain/away-{code}"}
    assert system.s3.endpoint is not None
    with FaultProxy(system.s3.endpoint) as proxy:
        drtool = Commands.over(
            system.scene,
            s3_repository(system.s3, proxy.endpoint) | repository,
            f"away-{code}",
            **system.drtool.environment,
        )
        drtool = drtool.but("redis", password={"env": "REDIS_PASSWORD"})
        drtool.init()
        proxy.inject(Answer(503, error("ServiceUnavailable")), times=None, when="packs/")
        with running(drtool, "backup", "redis") as process:
            wait_until(
                lambda: len([path for _, path in proxy.requests if "/packs/" in path]) > BOTOS_OWN_ATTEMPTS,
                "drtool waits for the store",
                deadline_s=END_S,
            )
            process.send_signal(signum)
            assert drtool.end(process).code == code


def test_two_backups_at_the_same_time_end_well_or_ask_to_try_again(system: System) -> None:
    before = system.states()
    with running(system.drtool, "backup") as one, running(system.drtool, "backup") as other:
        said = [system.drtool.end(process) for process in (one, other)]
    volumes = [volume for each in said for volume in each.value["volumes"]]
    faults = [volume["error"]["kind"] for volume in volumes if volume["outcome"] != "done"]
    assert set(faults) <= {"TemporaryFailure"}, volumes
    new = system.states().keys() - before.keys()
    assert {volume["point"] for volume in volumes} - {None} <= new
    assert {system.states()[name] for name in new} == {"listed"}
    assert len(new) >= 2


def test_a_receiver_that_leaves_before_it_brought_what_a_backup_needs_leaves_that_to_the_backup(
    system: System,
) -> None:
    server, known = system.scene.postgres, system.objects("snap/")
    repository = parse_bundle(system.drtool.bundle.read_text()).repository.hex()
    slot = slot_name(str(system.drtool.content["name"]), "postgres", repository)
    [(restart,)] = server.sql(
        f"select restart_lsn::text from pg_replication_slots where slot_name = '{slot}'"
    )
    with Replication(server.settings) as replication, running(system.drtool, "backup", "postgres") as process:
        timeline = replication.identify().timeline
        with WalStream(replication, slot=slot, lsn=parse_lsn(str(restart)), timeline=timeline):
            wait_until(lambda: system.objects("snap/") > known, "the base is stored", deadline_s=END_S)
        [volume] = system.drtool.end(process).value["volumes"]
    assert volume["outcome"] == "done", volume
    assert system.states()[volume["point"]] == "listed"


def test_a_point_that_came_after_its_deadline_is_shown_and_taken_only_where_that_is_accepted(
    system: System,
) -> None:
    repository = s3_repository(system.s3, system.proxy.endpoint) | {"url": "s3://plain/late"}
    drtool = Commands.over(system.scene, repository, "late", **system.drtool.environment)
    drtool = drtool.but("redis", password={"env": "REDIS_PASSWORD"}, max_run=f"{MAX_RUN_S}s")
    drtool.init()
    system.proxy.inject(Stall(MAX_RUN_S + 1.5), when="late/snap/")
    said = drtool("backup", "redis", code=1)
    assert "later than max_run" in said.error["message"]
    [point] = drtool("points").value["points"]
    assert point["state"] == "late"
    assert "deadline" in point["detail"]
    directory = system.scene.directory / "late-redis"
    drtool.restore("redis", directory / "data", code=8)
    assert not directory.exists()
    assert drtool("status").value["status"]["volumes"][1]["newest"] is None
    drtool.restore("redis", directory / "data", "--accept-late")
    assert keys_of(system, directory) == count_keys(system.scene.redis) > 0


def test_a_longer_max_run_counts_once_the_repository_has_taken_it_over(system: System) -> None:
    repository = s3_repository(system.s3, system.proxy.endpoint) | {"url": "s3://plain/longer"}
    drtool = Commands.over(system.scene, repository, "longer", **system.drtool.environment)
    drtool = drtool.but("redis", password={"env": "REDIS_PASSWORD"}, max_run=f"{MAX_RUN_S}s")
    drtool.init()
    longer = drtool.but("redis", max_run="1h")

    system.proxy.inject(Stall(MAX_RUN_S + 1.5), when="longer/snap/")
    said = longer("backup", "redis", code=1)
    assert f"later than max_run ({MAX_RUN_S} s)" in said.error["message"]
    assert f"`{TAKE_OVER}` takes it over" in said.error["hint"]
    longer("keys", "volumes", "--admin-key-file", drtool.kit.with_name(f"{drtool.kit.name}.admin"))

    system.proxy.inject(Stall(MAX_RUN_S + 1.5), when="longer/snap/")
    assert longer("backup", "redis").value["volumes"][0]["notes"] == []
    states = [point["state"] for point in longer("points").value["points"]]
    assert states == ["late", "listed"], "what was late stays late"


def keys_of(system: System, directory: Path) -> int:
    """Return how many keys a server has that is started on a restored directory."""
    server = RedisServer.create(system.scene.redis.program, directory)
    server.start()
    try:
        return count_keys(server)
    finally:
        server.kill()


def count_keys(server: RedisServer) -> int:
    with server.connect() as connection:
        count: object = connection.call("DBSIZE")
    assert isinstance(count, int)
    return count


def test_empty_servers_come_back_empty(system: System) -> None:
    at = system.when_empty.isoformat()
    directory = system.scene.directory / "empty-redis"
    system.drtool.restore("redis", directory / "data", "--at", at)
    assert keys_of(system, directory) == 0
    assert posts_of(system, "empty-postgres", "--at", at) is None


def test_filled_servers_come_back_filled(system: System) -> None:
    at = system.when_filled.isoformat()
    directory = system.scene.directory / "filled-redis"
    system.drtool.restore("redis", directory / "data", "--at", at)
    assert keys_of(system, directory) == 50
    assert posts_of(system, "filled-postgres", "--at", at) == 500


def posts_of(system: System, name: str, *arguments: str) -> int | None:
    """Restore PostgreSQL and return how many rows its table has; None where there is no table."""
    lost = system.scene.postgres
    target = system.scene.directory / name
    system.drtool.restore("postgres", target, "--bin-dir", lost.bin_dir, *arguments)
    with PostgresServer(target, lost.bin_dir, password=lost.password, fast=True) as server:
        if server.sql("select to_regclass('post')") == [(None,)]:
            return None
        return int(server.sql("select count(*) from post")[0][0])
