import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drtool.errors import Corrupt, DrtoolError
from drtool.sources.base import Entry, Piece, Target
from drtool.sources.kubernetes.objects import encode, path_of
from drtool.sources.kubernetes.restore import check_entries, prove, restore, undo
from tests.sources.kubernetes.test_selection import kind

OBJECTS = [
    kind("v1 Secret", "password", data={"a": "c2VjcmV0"}),
    kind("v1 Secret", "other"),
    kind("apps/v1 Deployment", "web"),
]
KEPT = {path_of(each): encode(each) for each in OBJECTS}


def entries(kept: dict[str, bytes] | None = None) -> list[Entry]:
    return [Entry(path, {"type": "object"}, len(data)) for path, data in (kept or KEPT).items()]


def pieces(kept: dict[str, bytes] | None = None, size: int = 100) -> Iterator[Piece]:
    """Yield the last pieces first."""
    for path, data in (kept or KEPT).items():
        for offset in reversed(range(0, len(data), size)):
            yield Piece(path, offset, data[offset : offset + size])


def test_objects_come_back_a_file_each_for_nobody_else_to_read(tmp_path: Path) -> None:
    target = tmp_path / "new" / "objects"
    hashes = restore(entries(), pieces(), Target(target))

    assert {str(path.relative_to(target)) for path in target.rglob("*.json")} == KEPT.keys()
    assert json.loads((target / "core/Secret/password.json").read_text())["data"] == {"a": "c2VjcmV0"}
    for path in (target, *target.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0
    assert all(proof.ok for proof in prove(target, hashes))


def test_every_file_and_folder_is_on_the_disk_and_nothing_else_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def noting(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "sync", lambda: pytest.fail("the whole machine is synced"))
    target = tmp_path / "objects"
    restore(entries(), pieces(), Target(target))

    assert set(synced) == {tmp_path, target, *target.rglob("*")}


def test_the_files_are_given_to_who_shall_own_them(tmp_path: Path) -> None:
    owner = (os.getuid(), os.getgid()) if os.getuid() else (4321, 4322)
    restore(entries(), pieces(), Target(tmp_path / "objects", owner))

    for path in (tmp_path / "objects", *(tmp_path / "objects").rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == owner


@pytest.mark.parametrize(
    ("damage", "name"),
    [("change", "SHA-256"), ("swap", "SHA-256"), ("remove", "every object"), ("add", "every object")],
)
def test_a_proof_fails_when_a_file_is_not_what_was_captured(tmp_path: Path, damage: str, name: str) -> None:
    hashes = restore(entries(), pieces(), Target(tmp_path))
    first, second = tmp_path / "core/Secret/password.json", tmp_path / "core/Secret/other.json"
    match damage:
        case "change":
            first.write_bytes(first.read_bytes().replace(b"c2Vj", b"d2Vj"))
        case "swap":
            paths = ("core/Secret/password.json", "core/Secret/other.json")
            first.write_bytes(second.read_bytes())
            hashes[paths[0]] = hashes[paths[1]]
        case "remove":
            first.unlink()
        case "add":
            (tmp_path / "core/more").write_text("{}")

    failed = [proof for proof in prove(tmp_path, hashes) if not proof.ok]
    assert [proof.name.startswith(name) for proof in failed] == [True]


@pytest.mark.parametrize("damage", ["byte", "short", "stranger", "beyond", "twice"])
def test_a_point_that_is_not_whole_leaves_nothing_behind(tmp_path: Path, damage: str) -> None:
    def damaged() -> Iterator[Piece]:
        good = list(pieces())
        match damage:
            case "byte":
                good[-1] = Piece(good[-1].path, good[-1].offset, good[-1].data[::-1])
            case "short":
                good.pop()
            case "stranger":
                good.append(Piece("core/Secret/stranger.json", 0, b"x"))
            case "beyond":
                good.append(Piece(good[-1].path, 1 << 20, b"x"))
            case "twice":
                good.append(good[-1])
        yield from good

    with pytest.raises(Corrupt):
        restore(entries(), damaged(), Target(tmp_path / "new"))
    assert not (tmp_path / "new").exists()

    (tmp_path / "old").mkdir()
    with pytest.raises(Corrupt):
        restore(entries(), damaged(), Target(tmp_path / "old"))
    assert list((tmp_path / "old").iterdir()) == []


def test_objects_that_cannot_be_taken_back_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(entries(), pieces(), Target(tmp_path / "target"))
    kept = entries()[0].path
    unlink = Path.unlink

    def held(path: Path, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - as it is called
        if str(path).endswith(kept):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", held)
        with pytest.raises(PermissionError):
            undo(entries(), tmp_path / "target")
    left = [path for path in (tmp_path / "target").rglob("*") if path.is_file()]
    assert left == [tmp_path / "target" / kept]
    undo(entries(), tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_a_disk_that_refuses_is_told_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DrtoolError, match="cannot be written"):
        restore(entries(), pieces(), Target(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    "entry",
    [
        Entry("../up/x.json", {"type": "object"}, 100),
        Entry("a/b", {"type": "object"}, 100),
        Entry("a/b/c", {"type": "file"}, 100),
        Entry("a/b/c", {"type": "object"}, 32),
        Entry("core/Secret/password.json", {"type": "object"}, 100),
    ],
)
def test_entries_that_are_no_objects_are_refused(entry: Entry) -> None:
    check_entries(entries())
    with pytest.raises(Corrupt):
        check_entries([*entries(), entry])
