"""A tree comes back as it was, or the target is as it was."""

import errno
import os
import random
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drtool.errors import Corrupt, DrtoolError, Refused
from drtool.sources.base import Entry, Piece, Target
from drtool.sources.files.prove import prove
from drtool.sources.files.restore import restore, undo
from tests.sources.files.trees import AS_ROOT, Kept, capture, look, make_tree, open_handles

MB = 1024 * 1024


@pytest.mark.parametrize("seed", range(3))
def test_everything_comes_back_whatever_the_order_of_the_pieces(
    tree: Path, tmp_path: Path, seed: int
) -> None:
    before = look(tree)
    kept = capture(tree)
    restored = kept.restore(tmp_path / "new/target", seed=seed)
    assert look(tmp_path / "new/target") == before
    assert restored.metadata.unset.paths == {}
    assert [proof for proof in prove(tmp_path / "new/target", kept.entries, restored) if not proof.ok] == []


def test_holes_come_back_as_holes(tree: Path, tmp_path: Path) -> None:
    capture(tree).restore(tmp_path / "target")
    for name in ("sparse", "only a hole", "large with holes"):
        was, came = (tree / name).stat(), (tmp_path / "target" / name).stat()
        assert came.st_size == was.st_size
        assert came.st_blocks <= was.st_blocks + 64


def test_a_second_point_that_refers_to_the_first_comes_back_too(tree: Path, tmp_path: Path) -> None:
    first = capture(tree)
    second = capture(tree, first)
    assert second.read == []
    second.restore(tmp_path / "target")
    assert look(tmp_path / "target") == look(tree)


NAMES = st.binary(min_size=1, max_size=8).filter(
    lambda name: not set(name) & {0, 0x2F} and name not in (b".", b"..", b"lost+found")
)
CONTENT = st.one_of(st.binary(max_size=50), st.integers(0, 3 * MB))
TREES: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(NAMES, CONTENT, max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(CONTENT, inner), max_size=4),
    max_leaves=12,
)


def plant(folder: bytes, tree: dict[bytes, Any]) -> None:
    Path(os.fsdecode(folder)).mkdir()
    for name, content in tree.items():
        path = folder + b"/" + name
        if isinstance(content, dict):
            plant(path, content)
        else:
            Path(os.fsdecode(path)).write_bytes(
                content if isinstance(content, bytes) else random.Random(content).randbytes(content)
            )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES)
def test_any_tree_comes_back(tmp_path: Path, tree: dict[bytes, Any]) -> None:
    for name in ("root", "target"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    plant(os.fsencode(tmp_path / "root"), tree)
    kept = capture(tmp_path / "root")
    restored = kept.restore(tmp_path / "target")
    assert look(tmp_path / "target") == look(tmp_path / "root")
    assert all(proof.ok for proof in prove(tmp_path / "target", kept.entries, restored))


def test_a_user_without_rights_gets_all_but_owners_and_is_told(as_user: Path) -> None:
    make_tree(as_user / "tree")
    kept = capture_as_of_somebody_else(as_user / "tree")
    restored = kept.restore(as_user / "target")
    assert set(restored.metadata.unset.paths) == {"owner", "character device"}
    assert restored.metadata.unset.paths["character device"] == {"a device"}
    came = look(as_user / "target")
    assert came["a folder"]["mode"] & 0o7777 == 0o750  # it would run as somebody else
    assert {**came["large"], "owner": 0, "same as": 0} == {
        **look(as_user / "tree")["large"],
        "owner": 0,
        "same as": 0,
    }
    assert [proof for proof in prove(as_user / "target", kept.entries, restored) if not proof.ok] == []


def test_a_folder_that_its_owner_may_not_enter_comes_back_with_all_that_it_holds(as_user: Path) -> None:
    make_tree(as_user / "tree")
    (as_user / "tree/a folder/deeper").chmod(0o701)
    kept = capture(as_user / "tree")
    folder = kept.artifacts["a folder"]
    kept.artifacts["a folder"] = replace(folder, entry={**folder.entry, "mode": 0})
    kept.restore(as_user / "target")
    assert (as_user / "target/a folder").stat().st_mode & 0o7777 == 0
    (as_user / "target/a folder").chmod(0o2750)
    assert look(as_user / "target") == look(as_user / "tree")


@pytest.mark.parametrize("mode", [0o555, 0o311, 0o000])
def test_a_tree_whose_folders_let_nobody_write_is_taken_back(as_user: Path, mode: int) -> None:
    make_tree(as_user / "tree")
    kept = capture(as_user / "tree")
    for path, each in kept.artifacts.items():
        if each.entry["type"] == "directory":
            kept.artifacts[path] = replace(each, entry={**each.entry, "mode": mode})
    kept.restore(as_user / "target")
    undo(kept.entries, as_user / "target")
    assert list((as_user / "target").iterdir()) == []


def test_what_others_put_into_a_tree_stays_when_it_is_taken_back(as_user: Path) -> None:
    make_tree(as_user / "tree")
    kept = capture(as_user / "tree")
    kept.restore(as_user / "target")
    (as_user / "target/a folder/mine").write_text("mine")
    (as_user / "target/plain").unlink()
    undo(kept.entries, as_user / "target")
    assert [each.name for each in (as_user / "target").rglob("*")] == ["a folder", "mine"]


def test_what_cannot_be_taken_back_is_told(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = capture(tree)
    kept.restore(tmp_path / "target")
    unlink = os.unlink

    def held(name: bytes, *, dir_fd: int) -> None:
        if name == b"page.html":
            raise PermissionError(errno.EPERM, "Operation not permitted", name)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", held)
    with pytest.raises(PermissionError, match=r"a folder/deeper/page\.html"):
        undo(kept.entries, tmp_path / "target")
    assert [str(each.relative_to(tmp_path)) for each in (tmp_path / "target").rglob("*")] == [
        "target/a folder",
        "target/a folder/deeper",
        "target/a folder/deeper/page.html",
    ]


def capture_as_of_somebody_else(root: Path) -> Kept:
    """Capture root as if root had been run as root, and its files were somebody else's."""
    kept = capture(root)
    for path, each in kept.artifacts.items():
        if each.entry["type"] not in ("hardlink", "symlink"):
            kept.artifacts[path] = replace(each, entry={**each.entry, "uid": 4242, "gid": 4242})
    device = {**kept.artifacts["queue"].entry, "type": "character device", "device": [1, 3]}
    kept.artifacts["a device"] = replace(kept.artifacts["queue"], path="a device", entry=device)
    kept.streams["a device"] = b""
    return kept


def test_an_owner_that_is_named_gets_everything(tree: Path, tmp_path: Path) -> None:
    owner = (1234, 4321) if AS_ROOT else (os.geteuid(), os.getegid())
    kept = capture(tree)
    restored = kept.restore(tmp_path / "target", owner=owner)
    assert {each["owner"] for each in look(tmp_path / "target").values()} == {owner}
    assert [proof for proof in prove(tmp_path / "target", kept.entries, restored) if not proof.ok] == []


def test_an_acl_of_the_target_is_not_inherited(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    acl = bytes.fromhex(
        "02000000" + "01000700ffffffff02000700" + "39300000" + "04000500ffffffff"
        "10000700ffffffff"
        "20000500ffffffff"
    )
    try:
        os.setxattr(target, "system.posix_acl_default", acl)
    except OSError:
        pytest.fail("the tests need a file system with ACLs below their temporary directory")
    capture(tree).restore(target)
    assert look(target) == look(tree)


@pytest.mark.parametrize("content", ["a file", "a folder"])
def test_a_target_that_holds_something_is_refused_and_not_touched(
    tree: Path, tmp_path: Path, content: str
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").mkdir() if content == "a folder" else (target / "mine").write_text("mine")
    before = look(target)
    with pytest.raises(Refused, match="not empty: it holds mine") as caught:
        capture(tree).restore(target)
    assert caught.value.hint
    assert look(target) == before


def test_a_fresh_file_system_counts_as_empty(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "target/lost+found").mkdir(parents=True)
    capture(tree).restore(tmp_path / "target")
    assert set(look(tmp_path / "target")) - set(look(tree)) == {"lost+found"}


def entry(path: str, kind: str = "file", size: int = 0, **more: object) -> Entry:
    return Entry(
        path,
        {"type": kind, "mode": 0o700, "uid": os.geteuid(), "gid": os.getegid(), "mtime": 0, **more},
        size,
    )


ROOT = entry(".", "directory")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "does not begin"),
        ([entry("a")], "does not begin"),
        ([ROOT, entry("../a")], "outside"),
        ([ROOT, entry("/etc/cron.d/a")], "outside"),
        ([ROOT, entry("a", "directory"), entry("a/../../b")], "outside"),
        ([ROOT, entry("a/b")], "no folder for it"),
        ([ROOT, entry("a", "symlink", target="/etc"), entry("a/passwd")], "no folder for it"),
        ([ROOT, entry("a"), entry("a")], "twice"),
        ([ROOT, entry("a"), entry("a", "symlink", target="/etc")], "twice"),
        ([ROOT, entry("a", "hardlink", to="/etc/shadow")], "does not hold"),
        ([ROOT, entry("a", "symlink", target="b"), entry("b", "hardlink", to="a")], "does not hold"),
        ([ROOT, entry("a", "socket")], "unknown kind"),
        ([ROOT, entry("a", "directory", size=5)], "bytes"),
        ([ROOT, entry("a", "symlink", target="x\0y")], "no file has such a name"),
    ],
)
def test_entries_that_are_no_tree_are_refused_before_the_target_is_touched(
    tmp_path: Path, entries: list[Entry], said: str
) -> None:
    with pytest.raises(Corrupt, match=said):
        restore(entries, [], Target(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda pieces: pieces[:-1], "short of its size"),
        (lambda pieces: [*pieces, pieces[0]], "none of its own"),
        (lambda pieces: [*pieces, Piece("unknown", 0, b"x")], "none of its own"),
        (lambda pieces: [Piece(p.path, p.offset, p.data[:-44] + bytes(44)) for p in pieces], "trailer"),
    ],
    ids=["a piece missing", "a piece twice", "a piece of nothing", "damaged trailers"],
)
def test_a_point_that_is_not_whole_leaves_nothing_behind(
    tree: Path, tmp_path: Path, spoil: Callable[[list[Piece]], list[Piece]], said: str
) -> None:
    kept = capture(tree)
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "new", tmp_path / "empty"):
        with pytest.raises(Corrupt, match=said):
            restore(kept.entries, spoil(list(kept.pieces())), Target(target))
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond size bytes: what a full disk is to who writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_is_full_in_the_middle_leaves_nothing_behind(tree: Path, tmp_path: Path) -> None:
    kept = capture(tree)
    (tmp_path / "target").mkdir()
    with largest_file(2 * MB), pytest.raises(DrtoolError, match=r"cannot write .*file too large") as caught:
        kept.restore(tmp_path / "target")
    assert caught.value.exit_code == 1
    assert caught.value.hint
    assert list((tmp_path / "target").iterdir()) == []


def test_a_disk_that_is_too_small_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"are needed: .* for the files"):
        restore([ROOT, entry("a", size=1 << 60)], [], Target(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


def test_what_somebody_else_makes_in_the_target_is_neither_overwritten_nor_removed(
    tree: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"

    def pieces(kept: Kept) -> Iterator[Piece]:
        (target / "z second name").write_text("theirs")
        yield from kept.pieces()

    kept = capture(tree)
    with pytest.raises(DrtoolError, match="file exists"):
        restore(kept.entries, pieces(kept), Target(target))
    assert [path.name for path in target.iterdir()] == ["z second name"]
    assert (target / "z second name").read_text() == "theirs"


@pytest.mark.parametrize("held", [1, 256])
def test_links_planted_in_the_target_lead_nowhere(
    tmp_path: Path, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who may write to the target puts links in place of folders and files while it is restored."""
    monkeypatch.setattr("drtool.sources.files.tree._HELD", held)
    for name in ("a/file", "b/file", "c/large", "d/e/file"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(b"x" * (3 * MB if name == "c/large" else 10))
    outside, target = tmp_path / "outside", tmp_path / "target"
    (outside / "e").mkdir(parents=True)
    (outside / "large").write_bytes(b"precious")
    (outside / "file").write_bytes(b"precious")
    before = look(outside)
    kept = capture(tmp_path / "tree")

    def pieces() -> Iterator[Piece]:
        for number, piece in enumerate(kept.pieces()):
            yield piece
            if number == 0:
                for name in ("a", "b", "d"):
                    (target / name).rename(target / f"{name}-was")
                    (target / name).symlink_to(outside)
            if (target / "c/large").exists() and not (target / "c/large").is_symlink():
                (target / "c/large").unlink()
                os.link(outside / "large", target / "c/large")

    with pytest.raises(DrtoolError):
        restore(kept.entries, pieces(), Target(target))
    assert {**look(outside), "large": None, "file": None} == {**before, "large": None, "file": None}
    assert (outside / "large").read_bytes() == (outside / "file").read_bytes() == b"precious"


def test_a_deep_tree_comes_back(tmp_path: Path) -> None:
    deep = tmp_path / "tree" / "/".join(str(number) for number in range(400))
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    os.link(deep / "file", tmp_path / "tree" / "z")
    kept = capture(tmp_path / "tree")
    kept.restore(tmp_path / "target")
    assert look(tmp_path / "target") == look(tmp_path / "tree")


def test_nothing_stays_open(tree: Path, tmp_path: Path) -> None:
    before = open_handles()
    kept = capture(tree)
    kept.restore(tmp_path / "target")
    with pytest.raises(Refused):
        kept.restore(tmp_path / "target")
    assert open_handles() == before
