"""Paths as rows hold them, which may be anything, against a tree of files."""

import os
from pathlib import Path

import pytest

from drtool.errors import SourceUnavailable
from drtool.sources.files.presence import Presence

THERE = [
    b"a/b.jpg",
    b"/a/b.jpg",
    b"//a//./b.jpg",
    b"a/deep/../b.jpg",
    b"a/deep/..",
    b"a",
    b"a/",
    b".",
    b"line\nbreak ' \"; drop table",
    b"\xff\xfe",
    b"gone",
    b"inside/c.jpg",
    b"../media/a/b.jpg",
]
NOT_THERE = [
    b"a/B.jpg",
    b"a/b.jpg/",
    b"a/b.jpg/x",
    b"no/b.jpg",
    b"gone/x",
    b"round/x",
    b"../secret",
    b"/../secret",
    b"..",
    b"a/../../secret",
    b"../media-not",
    b"outside/secret",
    b"a\0b",
    b"\0/b",
    b"x" * 300,
    b"x/" * 5000,
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "media"
    (root / "a" / "deep").mkdir(parents=True)
    (root / "a" / "b.jpg").touch()
    (root / "a" / "deep" / "c.jpg").touch()
    (root / "line\nbreak ' \"; drop table").touch()
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).touch()
    (root / "gone").symlink_to("nowhere")
    (root / "inside").symlink_to("a/deep")
    (root / "outside").symlink_to(tmp_path)
    (root / "round").symlink_to("round")
    return root


@pytest.mark.parametrize("path", THERE)
def test_a_path_from_the_root_on_is_there(tree: Path, path: bytes) -> None:
    assert Presence(tree).has(path)


@pytest.mark.parametrize("path", NOT_THERE)
def test_nothing_else_is_and_no_path_leads_out_of_the_tree(tree: Path, path: bytes) -> None:
    assert not Presence(tree).has(path)


def test_a_tree_that_is_not_there_is_no_empty_one(tree: Path) -> None:
    with pytest.raises(SourceUnavailable, match="none is no folder"):
        Presence(tree / "none")


def test_what_may_not_be_looked_at_is_not_called_missing(as_user: Path) -> None:
    closed = as_user / "closed"
    closed.mkdir()
    (closed / "b.jpg").touch()
    closed.chmod(0)
    with pytest.raises(SourceUnavailable, match="may not be read: permission denied") as caught:
        Presence(as_user).has(b"closed/b.jpg")
    assert "closed/b.jpg" in caught.value.hint
