"""A repository that was copied after a new writer was enrolled: with the times of its objects, and without."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.commands import Commands
from tests.scenarios.files import Files, make_files
from tests.scenarios.test_lives import enrol


@dataclass(frozen=True)
class Copied:
    """A repository in two lives, a point each; commands over it, and over copies of it."""

    media: Files
    store: Path
    old: str
    moment: str
    new: str

    def copy(self, keep: Callable[[str, str], object]) -> Commands:
        """Return the commands over a copy, whose objects keep copies one by one."""
        place = self.store.with_name(f"copy-{len(list(self.store.parent.glob('copy-*')))}")
        shutil.copytree(self.store, place, copy_function=keep)
        return self.media.drtool.but("repository", url=f"file://{place}")


@pytest.fixture
def copied(tmp_path: Path) -> Copied:
    store = tmp_path / "store"
    store.mkdir()
    media = make_files(tmp_path, {"url": f"file://{store}"})
    old = media.backup()
    bundle = media.drtool.bundle.rename(tmp_path / "ended.json")
    enrol(media.drtool, media.drtool.bundle)
    assert bundle.exists()
    new = media.backup()
    return Copied(media, store, old["point"], old["moment"], new["point"])


def states(drtool: Commands) -> dict[str, tuple[str, str]]:
    return {each["name"]: (each["state"], each["detail"]) for each in drtool("points").value["points"]}


def test_a_copy_that_keeps_times_restores_what_the_repository_does(copied: Copied, tmp_path: Path) -> None:
    drtool = copied.copy(shutil.copy2)
    assert {state for state, _ in states(drtool).values()} == {"listed"}
    restored = drtool.restore("media", tmp_path / "target", "--at", copied.moment).value["restore"]
    assert restored["point"] == copied.old


def test_a_copy_that_lost_times_names_the_points_of_the_writer_that_ended(
    copied: Copied, tmp_path: Path
) -> None:
    drtool = copied.copy(shutil.copyfile)
    state, detail = states(drtool)[copied.old]
    assert state == "writer ended"
    assert detail.startswith("signed by writer-1, which ended at ")
    target = tmp_path / "target"
    said = drtool.restore("media", target, "--at", copied.moment, code=8).error
    assert f"1 point cannot be read; the newest is {copied.old}: signed by writer-1" in said["hint"]
    assert "copy it again with the times of its objects" in said["hint"]
    assert not target.exists()
    assert drtool.restore("media", target).value["restore"]["point"] == copied.new


def test_a_copy_of_which_only_points_of_the_writer_that_ended_are_left_is_refused_with_that_cause(
    copied: Copied, tmp_path: Path
) -> None:
    drtool = copied.copy(shutil.copyfile)
    next(copied.store.parent.glob(f"copy-*/{copied.new}")).unlink()
    said = drtool.restore("media", tmp_path / "target", code=4).error
    assert f"the newest is {copied.old}: signed by writer-1" in said["message"]
    assert "copy it again with the times of its objects" in said["hint"]
