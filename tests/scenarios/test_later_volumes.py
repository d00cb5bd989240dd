"""A policy that gets another volume, and longer runs, after its repository was made; and one that loses a volume."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drtool.repository.storage.s3 import S3Store
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, policy_of, s3_repository
from tests.scenarios.scene import Scene, play


@pytest.fixture(scope="module")
def scene(s3_server: S3Server) -> Iterator[Scene]:
    with play(17, "6.2", s3_server.at(s3_server.plain)) as scene:
        yield scene


@pytest.fixture
def first(scene: Scene, s3_server: S3Server, request: pytest.FixtureRequest) -> Commands:
    """The commands over a policy of the database alone, whose repository is made and holds a point of it."""
    name = f"v{abs(hash(request.node.name)) % 10**8}"
    content = policy_of(scene, s3_repository(s3_server.at(s3_server.plain)), name)
    content["volumes"] = content["volumes"][:1]
    drtool = Commands(scene.directory / name, content, scene.environment).written()
    drtool.init()
    drtool("backup")
    return drtool


def with_redis(drtool: Commands, scene: Scene, **changes: object) -> Commands:
    """Return the commands over the policy that got the Redis too, and changes of the database's volume."""
    content = policy_of(scene, drtool.content["repository"], drtool.content["name"])
    content["volumes"][0] |= changes
    return replace(drtool, content=content).written()


def told(drtool: Commands) -> list[dict[str, Any]]:
    """Return what doctor tells of the two volumes in the repository."""
    found = drtool.end(drtool.start("doctor", "--dry-run")).value["examination"]["findings"]
    return [each for each in found if each["area"] == "store" and each["about"] in ("postgres", "redis")]


def take_over(drtool: Commands, statement: str, *more: str) -> dict[str, Any]:
    """Run the statement that a hint names, with the files that it stands for."""
    files = {
        "FILE": drtool.policy,
        "kit.txt": drtool.kit,
        "kit.txt.admin": drtool.kit.with_name(f"{drtool.kit.name}.admin"),
    }
    program, *words = statement.split()
    assert program == "drtool"
    said = drtool.alone(*(files.get(word, word) for word in words), *more).value
    found: dict[str, Any] = said["taken_over"]
    return found


def configs(drtool: Commands, s3_server: S3Server) -> list[str]:
    """Return the names of the configs that are stored."""
    prefix = str(drtool.content["repository"]["url"]).rpartition("/")[2]
    with closing(S3Store(replace(s3_server.plain, prefix=f"{prefix}/"))) as store:
        return [found.name for found in store.list("config/")]


def test_a_volume_that_came_later_is_backed_up_after_the_statement_that_every_hint_names(
    first: Commands, scene: Scene, s3_server: S3Server
) -> None:
    later = with_redis(first, scene, max_run="48h")
    before = configs(later, s3_server)
    assert len(before) == 1
    refused = later("backup", "redis", code=5).error
    statement = refused["hint"].split("`")[1]
    [done] = later("backup", "postgres").value["volumes"]
    assert [statement in note for note in done["notes"]] == [True], (
        "its run may not last as long as the policy says"
    )
    missing, short = told(later)
    assert (missing["level"], missing["about"], missing["mend"]) == ("error", "redis", [statement])
    assert (short["level"], short["about"], short["mend"]) == ("warning", "postgres", [statement])
    assert "max_run is 1 d in the repository, not the policy's 2 d" in short["message"]
    assert any(statement in each for each in later("status").value["status"]["faults"])
    assert statement in later("points", "redis", code=5).error["hint"]

    would = take_over(later, statement, "--dry-run")
    assert would["added"] == ["redis"]
    assert configs(later, s3_server) == before, "a dry run stores nothing"
    later("backup", "redis", code=5)
    taken = take_over(later, statement)
    assert taken["added"] == ["redis"]
    assert [(each["volume"], each["limit"]) for each in taken["longer"]] == [("postgres", "max_run")]

    assert [each["outcome"] for each in later("backup").value["volumes"]] == ["done", "done"]
    assert {each["state"] for each in later("points").value["points"]} == {"listed"}
    assert {each["volume"] for each in later("points").value["points"]} == {"postgres", "redis"}
    assert told(later) == []
    assert take_over(later, statement)["config"] == 1
    assert len(configs(later, s3_server)) == 2, "there is nothing more to take over, and nothing is stored"


def test_a_volume_that_left_the_policy_stays_restorable_and_no_limit_gets_shorter(
    first: Commands, scene: Scene, tmp_path: Path
) -> None:
    both = with_redis(first, scene)
    statement = both("backup", "redis", code=5).error["hint"].split("`")[1]
    take_over(both, statement)
    both("backup", "redis")

    content = json.loads(json.dumps(both.content))
    content["volumes"] = content["volumes"][1:]
    content["volumes"][0]["max_run"] = "1m"
    left = replace(both, content=content).written()
    said = take_over(left, statement)

    assert said["left"] == ["postgres"]
    assert [(each["volume"], each["limit"]) for each in said["shorter"]] == [("redis", "max_run")]
    assert (said["added"], said["longer"], said["config"]) == ([], [], 1)
    left.restore(
        "postgres", scene.directory / f"again-{first.content['name']}", "--bin-dir", scene.postgres.bin_dir
    )
    left.restore("redis", tmp_path / "redis")
    left("verify", "--level", "L0")


def test_enrolling_a_writer_with_the_policy_at_hand_takes_the_new_volume_over(
    first: Commands, scene: Scene, tmp_path: Path
) -> None:
    later = with_redis(first, scene)
    sheet = later.kit.with_name(f"{later.kit.name}.admin")
    bundle = tmp_path / "second.json"
    said = later.operator("keys", "enrol", "--admin-key-file", sheet, "--bundle", bundle).value
    assert said["enrolment"]["added"] == ["redis"]
    later.bundle.write_bytes(bundle.read_bytes())
    assert [each["outcome"] for each in later("backup", "redis").value["volumes"]] == ["done"]
