"""Bad input to the command line: said at once, with its exit code, before anything is touched or downloaded."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from drtool.operations.session import KeyFiles, Silent, World, open_session
from drtool.repository.kit import RecoveryLine, parse_recovery
from drtool.repository.records import Record
from drtool.repository.runs import read_runs
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.conftest import System

VOLUMES = ("postgres", "redis")
MIB = 1024 * 1024


@pytest.fixture(scope="session")
def other(backed_up_system: System) -> Commands:
    """The commands over another, empty repository in the same bucket, with keys of its own."""
    repository = s3_repository(backed_up_system.s3) | {"url": "s3://plain/other"}
    made = Commands.over(backed_up_system.scene, repository, "other")
    made.init()
    return made


@pytest.fixture
def target(untouched: System) -> Iterator[Path]:
    """A directory that is not there, and is not there afterwards."""
    target = untouched.scene.directory / "target"
    yield target
    assert not target.exists()


def families_asked_for(system: System, since: int) -> set[str]:
    """Return the families of the objects that were asked for since that many requests."""
    prefix = system.s3.prefix.strip("/")
    paths = [unquote(path) for _, path in system.proxy.requests[since:]]
    return {found[1] for path in paths if (found := re.search(rf"{prefix}/([a-z]+)", path))}


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_key_of_another_repository_is_said_before_any_download(
    untouched: System, other: Commands, target: Path, volume: str
) -> None:
    since = len(untouched.proxy.requests)
    said = untouched.proxied.operator("restore", volume, "--to-dir", target, kit=other.kit, code=5)
    assert "belongs to another repository" in said.error["message"]
    assert families_asked_for(untouched, since) == {"config"}


def test_a_key_that_is_no_recipient_is_said_before_any_download(untouched: System, target: Path) -> None:
    ours = parse_recovery(untouched.drtool.kit.read_text())
    kit = untouched.scene.directory / "scenario" / "changed-no-recipient"
    kit.write_text(RecoveryLine(bytes(32), ours.trust).text())
    since = len(untouched.proxy.requests)
    said = untouched.proxied.operator("restore", "redis", "--to-dir", target, kit=kit, code=5)
    assert "not among the recipients" in said.error["message"]
    assert families_asked_for(untouched, since) == {"config"}


def test_a_mistyped_key_is_said_before_the_store_is_asked_anything(untouched: System, target: Path) -> None:
    line = re.search("DRTOOL-RECOVERY-[A-Z2-7-]+", untouched.drtool.kit.read_text())
    assert line is not None
    kit = untouched.scene.directory / "scenario" / "changed-mistyped"
    kit.write_text(line[0][:30] + ("A" if line[0][30] != "A" else "B") + line[0][31:])
    since = len(untouched.proxy.requests)
    for arguments in (
        ("restore", "redis", "--to-dir", target),
        ("keys", "prove"),
        ("verify", "--level", "L2"),
    ):
        said = untouched.proxied.operator(*arguments, kit=kit, code=2)
        assert "mistyped" in said.error["message"]
    assert untouched.proxy.requests[since:] == []


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_target_that_holds_something_is_left_as_it_is(untouched: System, volume: str) -> None:
    used = untouched.scene.directory / "scenario" / f"changed-target-{volume}"
    used.mkdir()
    (used / "mine").write_text("precious")
    said = untouched.drtool.restore(volume, used, code=5)
    assert "is not empty" in said.error["message"]
    assert [path.read_text() for path in used.iterdir()] == ["precious"]
    untouched.drtool.restore(volume, used / "mine", code=2)


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_disk_that_is_too_small_is_said_before_anything_is_written(
    untouched: System, monkeypatch: pytest.MonkeyPatch, target: Path, volume: str
) -> None:
    told = ["the base backup", "the WAL", "what its replay adds"] if volume == "postgres" else ["the data"]
    for free in (1024, 17 * MIB) if volume == "postgres" else (1024,):  # less than all, and less than the WAL
        for how in ([], ["--dry-run"]):
            with monkeypatch.context() as patch:
                patch.setattr(shutil, "disk_usage", lambda _path, free=free: SimpleNamespace(free=free))
                said = untouched.drtool.restore(volume, target, *how, code=5)
            [disk] = said.value["disks"]
            assert disk["free"] == free < disk["needed"] == sum(disk["parts"].values())
            assert f"({disk['needed']} bytes) are needed: " in said.error["message"]
            assert [each for each in told if f" for {each}" not in said.error["message"]] == []
            assert not target.exists()


def test_a_disk_that_is_too_small_is_said_with_what_an_earlier_restore_left_on_it(
    untouched: System, monkeypatch: pytest.MonkeyPatch, target: Path
) -> None:
    left = target.with_name(f"{target.name}.drtool-wal")
    left.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1024))
        said = untouched.drtool.restore("postgres", target, "--dry-run", code=5)
    left.rmdir()
    assert f"{left} is of an earlier restore" in said.error["hint"]
    assert f"`rm -rf -- {left}`" in said.error["hint"]


MOMENTS = [
    ("2099-01-01T00:00:00Z", 8, "not until"),
    ("2000-01-01T00:00:00Z", 8, ""),
    ("2026-11-25T10:00:00", 2, "has no time zone"),
    ("yesterday evening", 2, "is no time"),
]


@pytest.mark.parametrize(("at", "code", "message"), MOMENTS)
def test_a_moment_that_cannot_be_had_is_said(
    untouched: System, target: Path, at: str, code: int, message: str
) -> None:
    said = untouched.drtool.restore("postgres", target, "--at", at, code=code)
    assert message in said.error["message"]
    untouched.drtool("points", "postgres", "--at", at, code=code)
    if code == 2 or at < "2026":
        untouched.drtool.restore("redis", target, "--at", at, code=code)


def test_a_bundle_that_nobody_made_yet_is_said_with_who_makes_it(untouched: System, target: Path) -> None:
    said = untouched.drtool.alone("points", "--policy", untouched.drtool.policy, "--bundle", target, code=2)
    assert said.error["hint"].startswith("`drtool init` writes")


def test_a_volume_that_is_not_in_the_policy_is_wrong_usage(untouched: System, target: Path) -> None:
    for arguments in (("backup", "nothing"), ("wal", "catch-up", "nothing"), ("points", "nothing")):
        assert "nothing" in untouched.drtool(*arguments, code=2).error["message"]
    assert "nothing" in untouched.drtool.restore("nothing", target, code=2).error["message"]
    assert "only postgres has WAL" in untouched.drtool("wal", "catch-up", "redis", code=2).error["message"]


def test_a_policy_with_faults_is_refused_with_all_of_them_and_nothing_is_contacted(
    untouched: System, target: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        drtool = untouched.drtool.but("repository", endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}")
        broken = drtool.but("postgres", port="many", pasword="x", host="127.0.0.1").but("redis", rpo="soon")
        commands = (("policy", "check"), ("backup",), ("status",), ("wal", "catch-up"), ("verify",))
        for arguments in commands:
            said = broken(*arguments, code=2)
            assert said.error["kind"] == "PolicyInvalid"
            faults = re.findall(r"policy\.yaml:\d+:\d+: ", said.error["message"])
            assert len(faults) == 3, said.error["message"]
            assert "password" in said.error["message"]
        broken.restore("redis", target, code=2)
        broken("init", "--bundle", target, "--kit-file", target.with_name("target.kit"), code=2)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_dry_run_of_every_writing_command_leaves_store_and_server_as_they_were(
    untouched: System, target: Path
) -> None:
    drtool, server = untouched.drtool, untouched.scene.postgres
    server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots")
    before = untouched.objects()
    postgres, redis = drtool("backup", "--dry-run").value["volumes"]
    assert [postgres["outcome"], redis["outcome"]] == ["would run", "would run"]
    assert re.fullmatch(rf"PostgreSQL 18\S* at 127.0.0.1:{server.port}", postgres["look"]["what"])
    assert postgres["look"]["size"] > MIB
    assert re.fullmatch(r"slot drtool_scenario_postgres_\w{4} would be made", postgres["notes"][0])
    assert re.fullmatch(
        r"the server keeps WAL .* up to \d+ MiB; no standby is synchronous", postgres["notes"][1]
    )
    assert re.fullmatch(rf"redis 6.2\S* at 127.0.0.1:{untouched.scene.redis.port}", redis["look"]["what"])
    assert re.fullmatch(
        r"the master would be captured, 0 s behind; it has 50 keys in memory", redis["notes"][0]
    )
    assert drtool("wal", "catch-up", "--dry-run").value["dry_run"]
    for volume in VOLUMES:
        assert drtool.restore(volume, target, "--dry-run").value["restore"]["dry_run"]
    assert drtool("verify", "--level", "L0", "--dry-run").value["dry_run"]
    assert untouched.objects() == before
    assert server.sql("select slot_name from pg_replication_slots") == []
    drtool("wal", "catch-up")
    slot, _ = drtool("backup", "postgres", "--dry-run").value["volumes"][0]["notes"]
    assert re.fullmatch(r"slot drtool_scenario_postgres_\w{4} is there, used by nobody just now", slot)
    fresh = drtool.but("repository", url="s3://plain/fresh")
    fresh("init", "--bundle", target, "--kit-file", target.with_name("target.kit"), "--dry-run")
    fresh("status", code=7)


def test_no_run_record_holds_a_secret(system: System) -> None:
    system.drtool.but("redis", password={"env": "WRONG"})("backup", "redis", code=6)
    drtool = system.drtool
    world = World(lambda: datetime.now(UTC), drtool.environment, Silent())
    opened = open_session(drtool.policy, None, KeyFiles(recovery=drtool.kit), world)
    runs = list(read_runs(opened.repository.records, datetime.now(UTC) - timedelta(days=1)))
    texts = [json.dumps(run.value) for run in runs if isinstance(run, Record)]
    opened.repository.store.close()
    assert len(texts) == len(runs) > 4
    assert any("does not accept this user" in text for text in texts)
    assert [name for name, secret in system.secrets().items() if secret in "".join(texts)] == []


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_moment_that_is_yet_to_come_is_refused_whatever_the_source(
    untouched: System, target: Path, volume: str
) -> None:
    for how in ([], ["--dry-run"]):
        untouched.drtool.restore(volume, target, "--at", "2199-01-01T00:00:00Z", *how, code=8)
