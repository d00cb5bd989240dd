"""Points of which something is gone from the store: told before anything is written, with the one that is whole."""

from pathlib import Path

import pytest

from tests.scenarios.commands import Commands
from tests.scenarios.conftest import System
from tests.scenarios.files import Files, make_files


@pytest.fixture
def store(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    place.mkdir()
    return place


@pytest.fixture
def media(tmp_path: Path, store: Path) -> Files:
    return make_files(tmp_path, {"url": f"file://{store}"})


def packs(store: Path) -> set[Path]:
    return {each for each in store.glob("packs/**/*") if each.is_file()}


def two_points(media: Files, store: Path) -> tuple[str, str]:
    """Back up twice, and lose all packs that only the newer point needs. Return the names of both."""
    old = media.backup()["point"]
    kept = packs(store)
    (media.tree / "new").write_bytes(b"n" * 200_000)
    new = media.backup()["point"]
    for each in packs(store) - kept:
        each.unlink()
    return old, new


def test_the_newest_point_that_is_not_whole_is_refused_with_the_older_one_that_is(
    media: Files, store: Path, tmp_path: Path
) -> None:
    old, new = two_points(media, store)
    target = tmp_path / "target"
    said, tried = (media.drtool.restore("media", target, *how, code=5).error for how in ([], ["--dry-run"]))
    assert said == tried
    assert said["message"].startswith(f"{new} is not whole: packs/media/")
    assert f"The newest one that is whole is {old}: take it with --at " in said["hint"]
    assert not target.exists()
    moment = said["hint"].partition("--at ")[2].partition(",")[0]
    assert media.drtool.restore("media", tmp_path / "at", "--at", moment).value["restore"]["point"] == old

    taken = media.drtool.restore("media", target, "--accept-loss").value["restore"]

    assert taken["point"] == old
    assert [(each["name"], each["state"]) for each in taken["passed_over"]] == [(new, "not whole")]
    assert taken["notes"][0].startswith(f"not taken, though newer: {new}, of ")


def test_points_of_which_none_is_whole_are_refused_and_verified_as_that(
    media: Files, store: Path, tmp_path: Path
) -> None:
    old, new = two_points(media, store)
    for each in packs(store):
        each.unlink()
    said = media.drtool.restore("media", tmp_path / "target", "--accept-loss", code=5).error
    assert said["message"].startswith(f"{new} is not whole: ")
    assert "No older point of media is whole" in said["hint"]
    for level in ("L0", "L1"):
        faults = media.drtool("verify", "--level", level, code=4).value["verification"]["faults"]
        assert {old, new} <= {each["name"] for each in faults}


def test_a_grant_of_a_named_point_that_is_not_whole_says_nothing_of_others(
    media: Files, store: Path, tmp_path: Path
) -> None:
    old, new = two_points(media, store)
    line = media.drtool.alone("keys", "runner", tmp_path / "runner").value["runner"]
    grant = ("keys", "grant", "media", "--to", line, "--output", tmp_path / "grant")

    said = media.drtool.operator(*grant, "--point", new, code=5).error

    assert said["message"].startswith(f"{new} is not whole: packs/media/")
    assert said["hint"].startswith("`drtool points media` lists the others. ")
    assert f"newest one that is whole is {old}" in media.drtool.operator(*grant, code=5).error["hint"]
    assert media.drtool.operator(*grant, "--point", old).value["grant"]["point"] == old


def test_an_older_base_backup_whose_wal_leads_as_far_is_taken_and_that_is_told(
    system: System, store: Path, tmp_path: Path
) -> None:
    drtool = Commands.over(system.scene, {"url": f"file://{store}"}, "not-whole", **system.drtool.environment)
    drtool.init()
    [old] = drtool("backup", "postgres").value["volumes"]
    kept = packs(store)
    [new] = drtool("backup", "postgres").value["volumes"]
    drtool("wal", "catch-up")
    for each in packs(store) - kept:
        each.unlink()

    restored = drtool.restore("postgres", tmp_path / "target", "--dry-run").value["restore"]

    assert restored["point"] == old["point"]
    assert [(each["name"], each["state"]) for each in restored["passed_over"]] == [
        (new["point"], "not whole")
    ]

    for each in packs(store):
        each.unlink()
    said = drtool.restore("postgres", tmp_path / "target", "--dry-run", code=5).error
    assert said["message"].startswith(f"{new['point']} is not whole: packs/postgres/")
    assert said["hint"].startswith("No older point of postgres is whole and leads there. ")
