"""The walk: all of it in order, nothing beside it, whatever happens to the tree meanwhile."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.files.walk import OPEN_FOLDERS, Walk
from tests.sources.files.trees import open_handles


def walk(root: Path) -> list[str]:
    with Walk(root) as run:
        return [seen.path for seen in run]


def test_folders_come_before_what_they_hold_and_names_in_order(tmp_path: Path) -> None:
    for name in ("b/z", "b/a/x", "a", "c"):
        (tmp_path / name).mkdir(parents=True)
    assert walk(tmp_path) == [".", "a", "b", "b/a", "b/a/x", "b/z", "c"]


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    (tmp_path / "root/around").symlink_to(".")
    assert walk(tmp_path / "root") == [".", "around", "link"]


def test_the_tree_itself_may_be_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").touch()
    (tmp_path / "claim").symlink_to("real")
    assert walk(tmp_path / "claim") == [".", "file"]


def test_a_folder_that_becomes_a_link_while_it_is_walked_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").touch()
    (tmp_path / "root/folder").mkdir(parents=True)
    with Walk(tmp_path / "root") as run:
        found = []
        for seen in run:
            found.append(seen.path)
            if seen.path == "folder":
                (tmp_path / "root/folder").rmdir()
                (tmp_path / "root/folder").symlink_to(tmp_path / "outside")
        assert found == [".", "folder"]
        assert run.left_out.vanished == ["folder"]


def test_what_vanishes_after_it_was_listed_is_said(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    with Walk(tmp_path) as run:
        found = []
        for seen in run:
            found.append(seen.path)
            (tmp_path / "b").unlink(missing_ok=True)
        assert found == [".", "a", "c"]
        assert run.left_out.vanished == ["b"]


def deep(root: Path, depth: int) -> list[str]:
    """Make a chain of folders that is longer than a path may be; return its paths."""
    handle = os.open(root, os.O_RDONLY)
    paths = ["."]
    for number in range(depth):
        name = f"{number:0100}"
        os.mkdir(name, dir_fd=handle)
        os.close(os.open("z", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
        paths.append(name if number == 0 else f"{paths[-1]}/{name}")
    os.close(handle)
    return paths


def test_a_tree_that_is_deeper_than_paths_and_open_files_allow_is_walked(tmp_path: Path) -> None:
    folders = deep(tmp_path, 3 * OPEN_FOLDERS)
    before = open_handles()
    most = 0
    with Walk(tmp_path) as run:
        found = []
        for seen in run:
            found.append(seen.path)
            most = max(most, open_handles())
    assert [path for path in found if not path.endswith("z")] == folders
    assert len([path for path in found if path.endswith("z")]) == 3 * OPEN_FOLDERS
    assert most <= before + OPEN_FOLDERS + 2
    assert open_handles() == before


def test_a_folder_that_is_moved_from_under_a_deep_walk_ends_it(tmp_path: Path) -> None:
    folders = deep(tmp_path, OPEN_FOLDERS + 5)

    def move(path: str) -> None:
        if path == folders[-1]:
            (tmp_path / "elsewhere").mkdir()
            (tmp_path / folders[2]).rename(tmp_path / "elsewhere/moved")

    def walk_on() -> None:
        with Walk(tmp_path) as run:
            for seen in run:
                move(seen.path)

    with pytest.raises(TemporaryFailure, match="moved while it was walked") as caught:
        walk_on()
    assert caught.value.hint


def test_lost_and_found_of_the_file_system_is_left_out_but_a_users_own_is_not(tmp_path: Path) -> None:
    (tmp_path / "a/lost+found").mkdir(parents=True)
    (tmp_path / "lost+found").mkdir()
    expected = [".", "a", "a/lost+found"]
    assert walk(tmp_path) == (expected if os.geteuid() == 0 else [*expected, "lost+found"])


def test_another_file_system_is_not_entered() -> None:
    mounted = [path.name for path in Path("/dev").iterdir() if path.is_mount() and path.name != "fd"]
    assert "pts" in mounted
    with Walk(Path("/dev")) as run:
        found = [seen.path for seen in run]
        assert set(mounted) <= set(run.left_out.mounts)
        assert not [path for path in found if path.startswith("pts/")]
        assert "pts" in found


@pytest.mark.parametrize("make", [Path.touch, lambda path: None], ids=["a file", "nothing"])
def test_a_tree_that_is_no_folder_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "root")
    with pytest.raises(SourceUnavailable, match="cannot open") as caught:
        walk(tmp_path / "root")
    assert "mounted" in caught.value.hint


def test_a_folder_that_may_not_be_listed_is_an_error_with_its_path_and_rights(as_user: Path) -> None:
    (as_user / "open/closed").mkdir(parents=True)
    (as_user / "open/closed").chmod(0)
    with pytest.raises(SourceUnavailable, match=r"mode 0000, owner \d+:\d+; we are") as caught:
        walk(as_user)
    assert "open/closed" in caught.value.hint
    assert "run_as" in caught.value.hint
    assert "closed" not in caught.value.message
    (as_user / "open/closed").chmod(0o700)
