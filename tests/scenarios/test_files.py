"""A volume of files from the command line: backed up, changed, lost, and brought back, over a directory and over S3."""

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from drtool.operations.unfinished import Unfinished
from drtool.repository.format.names import family
from drtool.repository.snapshot import Snapshot
from drtool.sources.files.entries import NS_PER_S
from drtool.sources.files.trailer import SIZE
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.files import SECRET, SECRET_NAME, Files, make_files
from tests.sources.files.trees import NOT_UTF_8, clock, look, open_handles


def settle(tree: Path) -> None:
    """Wait until what was written is old enough to have a stat record: it is the file system's clock that counts."""
    newest = max(path.lstat().st_ctime for path in (tree, *tree.rglob("*")))
    while time.time() < newest + 3.2:
        time.sleep(0.1)


@pytest.fixture(params=["a directory", "S3"])
def files(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Files]:
    monkeypatch.setattr("drtool.sources.files.entries.UNSETTLED_NS", 3 * NS_PER_S)  # nothing is mapped here
    if request.param == "S3":
        s3 = s3_server.at(s3_server.plain)
        assert s3.credentials
        keys = s3.credentials()
        yield make_files(
            tmp_path,
            s3_repository(s3),
            SCENE_ACCESS_KEY=keys.access_key,
            SCENE_SECRET_KEY=keys.secret_key,
        )
        return
    (tmp_path / "repository").mkdir()
    yield make_files(tmp_path, {"url": f"file://{tmp_path}/repository"})


def test_what_a_policy_names_lies_beside_it_from_wherever_drtool_is_run(
    kept: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drtool = kept.drtool.but("repository", writer={"file": kept.drtool.bundle.name})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, policy in (
        (elsewhere, "../commands/changed-0/policy.yaml"),
        (drtool.directory, "policy.yaml"),
    ):
        monkeypatch.chdir(folder)
        drtool.without_keys("backup", "--policy", policy)
    assert len(kept.points()) == 2
    drtool.bundle.rename(elsewhere / drtool.bundle.name)
    monkeypatch.chdir(elsewhere)
    said = drtool.without_keys("backup", code=2)
    assert f"secret file {drtool.bundle} cannot be read" in said.error["message"]


def test_a_dry_run_finds_the_tree_or_says_what_the_backup_would(kept: Files, tmp_path: Path) -> None:
    kept.backup()
    stored = sorted((tmp_path / "repository").rglob("*"))
    planned = kept.drtool("backup", "--dry-run").value["volumes"][0]
    assert planned["look"]["what"] == f"the files below {kept.tree}"
    kept.tree.rename(tmp_path / "gone")
    gone = kept.drtool("backup", "--dry-run", code=6).error
    assert "cannot open" in gone["message"]
    kept.tree.mkdir()
    emptied = kept.drtool("backup", "--dry-run", code=6).error
    assert "is empty, and its last point held" in emptied["message"]
    assert sorted((tmp_path / "repository").rglob("*")) == stored
    assert kept.drtool("backup", code=6).error == emptied


def test_a_tree_comes_back_as_it_was_at_each_of_its_points(files: Files, tmp_path: Path) -> None:
    settle(files.tree)
    first_look = look(files.tree)
    first = files.backup()
    assert first["read"] > 0
    (files.tree / "plain").write_bytes(b"HELLO")
    (files.tree / "wörter.txt").unlink()
    (files.tree / "new").write_bytes(b"new")
    settle(files.tree)  # S3 dates by the second, too: the points are to differ in their times
    second_look, packs = look(files.tree), files.packs()
    second = files.backup()
    assert second["read"] == len("HELLO") + len("new") + 2 * SIZE
    assert second["reused"] == files.points()[0].size - len("hello") - len("ü".encode()) - 2 * SIZE
    assert len(files.packs() - packs) <= 2
    assert files.backup()["read"] == 0
    files.drtool("verify", "--level", "L1")
    newest = files.drtool.restore("media", tmp_path / "newest")
    assert look(tmp_path / "newest") == second_look
    assert all(proof["ok"] for proof in newest.value["restore"]["proofs"])
    old = files.drtool.restore("media", tmp_path / "old", "--at", _end_of(files.points()[0]))
    assert look(tmp_path / "old") == first_look
    assert "3 proofs hold" in old.value["verdict"]


def _end_of(point: Snapshot) -> str:
    return point.end.isoformat()


def test_exposure_is_counted_from_the_beginning_of_the_walk(kept: Files) -> None:
    before = clock()
    kept.backup()
    [status] = kept.drtool("status").value["status"]["volumes"]
    [point] = kept.points()
    assert before <= point.begin <= point.end <= clock()
    assert datetime.fromisoformat(status["newest"]) == point.begin
    assert status["inside"]
    assert status["next_run"]


def test_a_volume_without_a_point_is_due_now(kept: Files) -> None:
    status = kept.drtool("status").value["status"]
    assert [volume["next_run"] for volume in status["volumes"]] == [status["at"]]


def test_nothing_that_the_list_key_opens_holds_a_name_or_content_of_the_tree(kept: Files) -> None:
    (kept.tree / SECRET_NAME).chmod(0o600)
    kept.backup()
    os.mkfifo(kept.tree / "a telling fifo")
    (kept.tree / "another telling name").mkdir()
    kept.backup()
    session = kept.session()
    records, seen = session.repository.records, set()
    names = [name for path in kept.tree.rglob("*") if len(name := os.fsencode(path.name)) > 6]
    for found in session.repository.store.list(""):
        kind = family(found.name)
        if kind in ("lists", "snap", "runs", "part"):
            value = records.fetch_sealed(found.name)
            seen.add(kind)
            assert [name for name in (*names, SECRET, NOT_UTF_8) if name in value] == []
    assert seen == {"lists", "snap", "runs"}


def test_a_file_that_may_not_be_read_fails_the_run_and_its_record_holds_no_path(as_user: Path) -> None:
    (as_user / "repository").mkdir()
    files = make_files(as_user, {"url": f"file://{as_user}/repository"})
    files.backup()
    (files.tree / SECRET_NAME).chmod(0)
    said = files.drtool("backup", code=6)
    assert SECRET_NAME in said.error["hint"]
    assert "mode 0000" in said.error["message"]
    session = files.session()
    runs = [
        session.repository.records.fetch_sealed(found.name)
        for found in session.repository.store.list("runs/")
    ]
    assert any(b"may not be read" in run for run in runs)
    assert not any(SECRET_NAME.encode() in run for run in runs)
    assert len(files.points()) == 1
    (files.tree / SECRET_NAME).chmod(0o600)
    assert files.backup()["outcome"] == "done"


def test_a_volume_that_is_not_there_or_not_mounted_fails_with_a_hint(kept: Files) -> None:
    kept.backup()
    kept.tree.rename(kept.tree.with_name("away"))
    assert "mounted" in kept.drtool("backup", code=6).error["hint"]
    kept.tree.mkdir()
    assert "last point held" in kept.drtool("backup", code=6).error["message"]
    assert len(kept.points()) == 1


def test_a_claim_is_looked_for_where_claims_are_mounted(kept: Files, tmp_path: Path) -> None:
    content = json.loads(json.dumps(kept.drtool.content))
    content |= {
        "volumes": [{"name": "media", "source": "files", "claim": "media-claim"}],
        "kubernetes": {"namespace": "app"},
    }
    kept.drtool.policy.write_text(json.dumps(content))
    kept.tree.rename(tmp_path / "media-claim")
    said = kept.drtool("backup", code=6)
    assert "/claims/media-claim" in said.error["message"]
    mounted = Commands(
        kept.drtool.directory, content, {**kept.drtool.environment, "DRTOOL_CLAIMS": str(tmp_path)}
    )
    assert mounted("backup").value["volumes"][0]["outcome"] == "done"


def test_a_path_that_is_not_absolute_is_refused_by_the_policy(kept: Files) -> None:
    assert "not absolute" in kept.drtool.but("media", path="tree")("backup", code=2).out


def test_a_target_that_is_in_use_is_refused_and_a_dry_run_writes_nothing(kept: Files, tmp_path: Path) -> None:
    kept.backup()
    (tmp_path / "target").mkdir()
    (tmp_path / "target/mine").write_text("mine")
    assert "mine" in kept.drtool.restore("media", tmp_path / "target", code=5).error["message"]
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["mine"]
    assert kept.drtool.restore("media", tmp_path / "new", "--dry-run").value["restore"]["dry_run"]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_pack_leaves_the_target_as_it_was(kept: Files, tmp_path: Path, damage: str) -> None:
    kept.backup()
    pack = max((tmp_path / "repository/packs").rglob("*"), key=lambda path: path.stat().st_size)
    value = bytearray(pack.read_bytes())
    value[len(value) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(value) if damage == "flip" else pack.unlink()
    kept.drtool.restore("media", tmp_path / "target", code=4 if damage == "flip" else 5)
    assert not (tmp_path / "target").exists()


def test_the_repository_is_given_back_what_was_borrowed(kept: Files, tmp_path: Path) -> None:
    kept.backup()
    before = open_handles()
    kept.backup()
    kept.drtool.restore("media", tmp_path / "target")
    assert open_handles() <= before + 1
    shutil.rmtree(tmp_path / "target")


def test_a_proof_that_cannot_be_made_leaves_what_was_restored(
    kept: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = tmp_path / "target"
    kept.backup()
    with monkeypatch.context() as patched:
        patched.setattr("drtool.operations.restore_files.prove", broken)
        kept.drtool.restore("media", target, code=1)
    assert look(target) == look(kept.tree)
    again = kept.drtool.restore("media", target, code=5).error
    assert again["message"].startswith(f"{target} holds a restore of ")
    assert " that failed: begun " in again["message"]


def test_who_is_told_to_end_once_all_is_proven_leaves_what_was_restored(
    kept: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(unfinished: Unfinished) -> None:
        end(unfinished)
        raise KeyboardInterrupt

    end, target = Unfinished.end, tmp_path / "target"
    kept.backup()
    monkeypatch.setattr(Unfinished, "end", told)
    kept.drtool.restore("media", target, code=130)
    assert look(target) == look(kept.tree)
    assert not target.with_name("target.drtool-restore").exists()


def test_the_root_of_the_system_is_no_target(kept: Files) -> None:
    refused = kept.drtool.restore("media", Path("/"), "--dry-run", code=5).error
    assert refused["message"] == "/ is the root of the whole system"
