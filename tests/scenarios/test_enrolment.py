"""Who backs up what came back: a new writer, or nobody, and then everything says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.shop_lost import UID, Way, shop_lost
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.shop import at


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    with shop_lost(tmp_path) as way:
        for path in (at("cronjobs", "batch"), at("configmaps")):
            way.target.collections.setdefault(path, [])
        yield way


def stored(way: Way) -> dict[str, bytes]:
    root = Path(way.drtool.content["repository"]["url"].removeprefix("file://"))
    return {str(file): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def no_deployment(_method: str, sent: Json) -> tuple[int, str] | None:
    return (422, "no") if sent.get("kind") == "Deployment" else None


def test_a_system_that_nobody_would_back_up_is_not_brought_back_unasked(way: Way) -> None:
    before, kept = way.objects(), stored(way)

    error = way.whole(code=5).value["error"]

    assert "the admin's key is not at hand" in error["message"]
    for option in ("--admin-key-file", "--writer-secrets", "--enrol later"):
        assert option in error["hint"]
    assert way.objects() == before
    assert not way.target.written
    assert stored(way) == kept


def test_what_speaks_against_a_plan_is_said_before_anybody_looks_for_the_admin_sheet(way: Way) -> None:
    way.target.collections[at("configmaps")] = [
        {"metadata": {"name": "settings", "namespace": "shop"}, "data": {"colour": "theirs"}}
    ]
    assert way.whole(code=5).value["plan"]["refusals"]


def test_a_writer_that_is_enrolled_later_leaves_an_end_that_nobody_takes_for_a_good_one(way: Way) -> None:
    said = way.whole("--enrol", "later", code=9)
    found = said.value["restore"]

    assert found["outcome"] == "restored, and not protected"
    url = way.drtool.content["repository"]["url"]
    assert found["enrol_later"].startswith(f"drtool keys enrol --repository {url} ")
    assert found["notes"][0].startswith(f"nothing is backed up until `{found['enrol_later']}` is run")
    assert not [note for note in found["notes"] if "nothing protects" in note]
    assert not found["steps"].keys() & {"enrol writer", "protect again", "first backup"}


def test_a_person_reads_it_in_the_first_lines(way: Way) -> None:
    command = ("--image", "drtool:1", "--confirm-target", UID, "--enrol", "later")
    first, second = way(*command, code=9, text=True).out.splitlines()[:2]
    assert first.startswith("restore: shop is restored, and not protected in here")
    assert "NOT BACKED UP" in first
    assert "nothing is backed up until this is run: `drtool keys enrol" in second


def test_the_plan_enrols_a_writer_unless_that_is_put_off(way: Way) -> None:
    def steps(*arguments: str) -> list[str]:
        plan = way("--image", "drtool:1", "--dry-run", *arguments).value["plan"]["plan"]
        return [step["id"] for phase in plan["phases"] for step in phase["steps"]]

    assert steps()[-3:] == ["enrol writer", "protect again", "first backup"]
    assert "enrol writer" not in steps("--enrol", "later")
    assert "enrol writer" not in steps("objects")


def test_a_run_is_not_gone_on_with_before_its_writer_can_be_enrolled_or_that_is_put_off(way: Way) -> None:
    way.target.refuses = no_deployment
    run = way.whole(*way.enrols, code=6).value["restore"]["run"]
    way.target.refuses = lambda _method, _sent: None
    way.target.written.clear()

    refused = way("--resume", run, "--confirm-target", UID, code=5).value["error"]

    assert "the admin's key is not at hand" in refused["message"]
    assert not way.target.written
    found = way("--resume", run, "--confirm-target", UID, "--enrol", "later", code=9).value["restore"]
    assert found["outcome"] == "restored, and not protected"
    assert "start tier 1" in found["steps"]


def test_a_run_that_enrols_nobody_takes_no_admin_sheet(way: Way) -> None:
    way.target.refuses = no_deployment
    run = way.whole("--enrol", "later", code=6).value["restore"]["run"]
    way.target.refuses = lambda _method, _sent: None

    error = way("--resume", run, "--confirm-target", UID, *way.enrols, code=2).value["error"]
    assert "begun with --enrol later" in error["message"]
    assert way("--resume", run, "--confirm-target", UID, code=9).value["restore"]["enrol_later"]


def test_a_writer_that_is_being_enrolled_is_not_put_off(way: Way) -> None:
    way.target.refuses = lambda _method, sent: (
        (422, "no") if sent.get("metadata", {}).get("name") == "drtool-policy" else None
    )
    said = way.whole(*way.enrols, code=6).value
    assert "step protect again" in said["error"]["message"]
    run = said["restore"]["run"]

    error = way("--resume", run, "--confirm-target", UID, "--enrol", "later", code=2).value["error"]

    assert "has begun to enrol a new writer" in error["message"]
