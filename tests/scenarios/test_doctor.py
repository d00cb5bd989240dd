"""`drtool doctor` over real servers and a real store: what it prints is run, and mends what it found."""

import json
import shlex
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from drtool.cli.main import drtool as command
from drtool.operations.doctor.run import Options, run_doctor
from drtool.operations.session import KeyFiles, Silent, World
from drtool.repository.storage.s3 import S3Store
from drtool.repository.storage.settings import S3Settings
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.scene import Scene, play

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def s3(s3_server: S3Server) -> S3Settings:
    return s3_server.at(s3_server.versioned)


@pytest.fixture(scope="module")
def scene(s3: S3Settings, s3_server: S3Server) -> Iterator[Scene]:
    with play(18, "6.2", s3_server.at(s3_server.plain)) as made:
        yield made


@pytest.fixture(scope="module")
def drtool(scene: Scene, s3: S3Settings) -> Commands:
    made = Commands.over(scene, s3_repository(s3))
    made.init()
    return made


def look(drtool: Commands, level: str, code: int = 0) -> Found:
    """Return the findings of a level. Doctor ends with 5 and an answer, where other commands end with an error."""
    environment = {
        **drtool.environment,
        "DRTOOL_POLICY": str(drtool.policy),
        "DRTOOL_BUNDLE": str(drtool.bundle),
    }
    said = CliRunner().invoke(command, ["doctor", "--json"], env=environment)
    assert said.exit_code == code, said.output
    found: Found = json.loads(said.stdout)["examination"]["findings"]
    return [each for each in found if each["level"] == level]


def mend(drtool: Commands, found: dict[str, Any]) -> None:
    for statement in found["mend"]:
        name, *words = shlex.split(statement)
        assert (name, found["where"]) == ("drtool", "shell")
        drtool._run(words, {"DRTOOL_BUNDLE": str(drtool.bundle)}, (0, 9))  # 9: there is a gap, as was said


def test_servers_and_store_that_are_well_leave_warnings_at_most(drtool: Commands, s3: S3Settings) -> None:
    warnings = look(drtool, "warning")
    said = [each["message"] for each in warnings if each["area"] == "store"]
    assert [text for text in said if "versions" in text] != []  # these credentials may delete what they like
    with closing(S3Store(s3)) as store:
        assert list(store.list("probe/")) == []


def test_clocks_that_differ_are_told_with_and_without_the_probe(drtool: Commands) -> None:
    ahead = World(lambda: datetime.now(UTC) + timedelta(hours=1), drtool.environment, Silent())
    for dry_run in (False, True):
        options = Options(dry_run=dry_run)
        found = run_doctor(drtool.policy, KeyFiles(drtool.bundle), ahead, options).of("warning")
        assert len([each for each in found if each.area == "store" and "clock" in each.message]) == 1


def test_credentials_that_can_read_packs_are_wider_than_needed(drtool: Commands) -> None:
    (found,) = (each for each in look(drtool, "warning") if "no pack can be read" in each["message"])
    environment = {**drtool.environment, "DRTOOL_POLICY": str(drtool.policy)}
    said = CliRunner().invoke(command, shlex.split(found["mend"][0])[1:], env=environment)
    allowed = json.loads(said.stdout)["Statement"]
    reads = [each for each in allowed if "s3:GetObject" in str(each["Action"])]
    assert reads
    assert "packs" not in str(reads)


def test_a_key_is_proven_as_the_finding_says(drtool: Commands) -> None:
    drtool("backup")
    (found,) = (each for each in look(drtool, "warning") if "ever proven" in each["message"])
    (statement,) = found["mend"]
    drtool.operator(*shlex.split(statement)[1:])
    assert not any("ever proven" in each["message"] for each in look(drtool, "warning"))


def test_a_server_of_which_no_wal_is_stored_is_not_said_to_go_on_with_any(
    scene: Scene, s3_server: S3Server
) -> None:
    drtool = Commands.over(scene, s3_repository(s3_server.at(s3_server.versioned)), "fresh")
    drtool.init()
    assert told_of(drtool, "stored") == ["no WAL of it is stored yet"]
    drtool("backup", "postgres")
    assert told_of(drtool, "stored") == ["its timeline goes on with the WAL that is stored"]


def told_of(drtool: Commands, words: str) -> list[str]:
    found = [each["message"] for each in look(drtool, "ok") if each["area"] == "postgres"]
    return [message for message in found if words in message]


def test_a_slot_that_was_lost_is_replaced_and_a_new_base_taken(drtool: Commands, scene: Scene) -> None:
    drtool("backup", "postgres")
    drtool("wal", "catch-up", "postgres")
    for setting in ("max_slot_wal_keep_size = '16MB'", "max_wal_size = '32MB'", "min_wal_size = '32MB'"):
        scene.postgres.sql(f"alter system set {setting}")
    scene.postgres.sql("select pg_reload_conf()")
    for _ in range(8):
        scene.postgres.sql("select pg_logical_emit_message(false, 'test', repeat('x', 1000000))")
        scene.postgres.sql("select pg_switch_wal()")
        scene.postgres.sql("checkpoint")

    (found,) = look(drtool, "error", code=5)
    assert "is lost" in found["message"]
    mend(drtool, found)

    assert look(drtool, "error") == []
    drtool("verify", "--level", "L0")
