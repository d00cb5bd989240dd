"""A repository that was copied after a new writer was enrolled: with the times of its objects, and without."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from drtool.demo.servers.process import wait_until
from drtool.repository.storage.s3 import S3Store
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, s3_keys, s3_repository
from tests.scenarios.files import Files, make_files
from tests.scenarios.test_lives import enrol

END_S = 60


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
    said = drtool.restore("media", target, "--at", "2999-01-01T00:00:00Z", code=8).error
    assert "is yet to come" in said["message"]
    assert "cannot be read" not in said["hint"]
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


@dataclass(frozen=True)
class Bucket:
    """A repository in a bucket, of which the test has the store's own client."""

    media: Files
    store: S3Store
    s3: S3Server

    def names(self) -> dict[str, datetime]:
        return {each.name: each.modified for each in self.store.list("")}

    def wait_for_a_later_second(self) -> None:
        """A store tells its times in whole seconds: what it dates later than all that is there."""
        newest = max(self.names().values())
        wait_until(lambda: self.store.now() > newest, "the store's clock goes on", deadline_s=END_S)

    def sync(self, other: S3Store) -> None:
        """Copy what is not there yet into another bucket or prefix, which dates it with the copy."""
        there = {each.name for each in other.list("")}
        for name in self.names().keys() - there:
            value = self.store.get(name)
            other.put(name, value, hashlib.sha256(value).digest())

    def download(self, place: Path) -> None:
        """Copy everything into a directory, and give each file the time of its object."""
        for name, modified in self.names().items():
            file = place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.store.get(name))
            os.utime(file, (modified.timestamp(), modified.timestamp()))

    def over(self, **repository: object) -> Commands:
        """Return the commands over another repository."""
        changed = self.media.drtool.but("repository")
        return replace(changed, content={**changed.content, "repository": repository}).written()


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path) -> Iterator[Bucket]:
    s3 = s3_server.at(s3_server.plain)
    media = make_files(tmp_path, s3_repository(s3), **s3_keys(s3))
    with closing(S3Store(s3)) as store:
        yield Bucket(media, store, s3_server)


def test_a_bucket_is_copied_before_a_writer_ends_or_into_a_directory_with_its_times(
    bucket: Bucket, tmp_path: Path
) -> None:
    old = bucket.media.backup()
    before, after = (bucket.s3.at(bucket.s3.plain) for _ in range(2))
    with closing(S3Store(before)) as early, closing(S3Store(after)) as late:
        bucket.sync(early)
        bucket.wait_for_a_later_second()
        bucket.media.drtool.bundle.unlink()
        enrol(bucket.media.drtool, bucket.media.drtool.bundle)
        new = bucket.media.backup()
        for copy in (early, late):
            bucket.sync(copy)
    bucket.download(tmp_path / "directory")

    whole: list[dict[str, object]] = [s3_repository(before), {"url": f"file://{tmp_path}/directory"}]
    for number, repository in enumerate(whole):
        drtool = bucket.over(**repository)
        assert {each: state for each, (state, _) in states(drtool).items()} == {
            old["point"]: "listed",
            new["point"]: "listed",
        }
        target = tmp_path / f"target-{number}"
        restored = drtool.restore("media", target, "--at", old["moment"]).value["restore"]
        assert restored["point"] == old["point"]

    lost = bucket.over(**s3_repository(after))
    assert states(lost)[old["point"]][0] == "writer ended"
    assert states(lost)[new["point"]][0] == "listed"
