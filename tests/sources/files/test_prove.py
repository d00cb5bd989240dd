"""The proofs: what is as it was passes, and whatever is changed by hand makes one fail."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from drtool.errors import NotProven
from drtool.sources.base import Proof
from drtool.sources.files.prove import prove
from tests.sources.files.trees import AS_ROOT, capture

ENTRIES, CONTENT, METADATA = (
    "every entry, and nothing else",
    "SHA-256 of every file",
    "owners, modes, times, attributes, links",
)


def flip(path: Path, at: int) -> None:
    """Change one byte, and hide it."""
    status = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def relink(target: Path) -> None:
    mtime = (target / "z second name").stat().st_mtime_ns
    (target / "z second name").unlink()
    (target / "z second name").write_bytes(b"hello")
    os.utime(target / "z second name", ns=(mtime, mtime))


def truncate(path: Path, size: int) -> None:
    status = path.stat()
    path.chmod(0o600)
    os.truncate(path, size)
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def retarget(link: Path) -> None:
    link.unlink()
    link.symlink_to("other")


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a byte of a file": (CONTENT, lambda target: flip(target / "a folder/third name", 2)),
    "a byte of a large file": (CONTENT, lambda target: flip(target / "large", 8_000_000)),
    "a byte in a hole": (CONTENT, lambda target: flip(target / "sparse", 3_000_000)),
    "a byte behind the last data": (CONTENT, lambda target: flip(target / "sparse", 19_999_999)),
    "a byte of nothing but a hole": (CONTENT, lambda target: flip(target / "only a hole", 0)),
    "a shorter file": (CONTENT, lambda target: truncate(target / "large", 9_000_000)),
    "a longer file": (CONTENT, lambda target: truncate(target / "large", 10_000_000)),
    "content in an empty file": (CONTENT, lambda target: truncate(target / "empty", 1)),
    "two files where one had two names": (CONTENT, relink),
    "a missing file": (ENTRIES, lambda target: (target / "broken").unlink()),
    "one file more": (ENTRIES, lambda target: (target / "a folder/more").touch()),
    "another mode": (METADATA, lambda target: (target / "empty").chmod(0o777)),
    "another time": (METADATA, lambda target: os.utime(target / "queue", ns=(0, 1))),
    "another time of a folder": (METADATA, lambda target: os.utime(target / "a folder", ns=(0, 1))),
    "another link": (METADATA, lambda target: retarget(target / "link")),
    "a lost attribute": (METADATA, lambda target: os.removexattr(target / "a folder", "user.empty")),
    "a new attribute": (METADATA, lambda target: os.setxattr(target / "empty", "user.x", b"")),
    "another mode of the tree itself": (METADATA, lambda target: target.chmod(0o777)),
}
if AS_ROOT:
    CHANGES["another owner"] = (METADATA, lambda target: os.chown(target / "empty", 1, 2))
    CHANGES["another owner of a link"] = (
        METADATA,
        lambda target: os.chown(target / "link", 1, 2, follow_symlinks=False),
    )


@pytest.mark.parametrize(("failing", "change"), CHANGES.values(), ids=CHANGES)
def test_a_change_makes_its_proof_fail(
    tree: Path, tmp_path: Path, failing: str, change: Callable[[Path], object]
) -> None:
    kept = capture(tree)
    target = tmp_path / "target"
    restored = kept.restore(target)
    change(target)
    proofs = {proof.name: proof for proof in prove(target, kept.entries, restored)}
    assert list(proofs) == [ENTRIES, CONTENT, METADATA]
    assert not proofs[failing].ok
    assert proofs[failing].actual != proofs[failing].expected


def test_a_proof_names_the_first_of_many_differences(tree: Path, tmp_path: Path) -> None:
    kept = capture(tree)
    restored = kept.restore(tmp_path / "target")
    for number in range(9):
        (tmp_path / f"target/more {number}").touch()
    [proof] = [each for each in prove(tmp_path / "target", kept.entries, restored) if each.name == ENTRIES]
    assert proof == Proof(ENTRIES, ok=False, expected=f"{len(kept.entries)}", actual=proof.actual)
    assert "9 more: more 0, more 1, more 2, …" in proof.actual


def test_a_target_that_cannot_be_read_again_is_not_proven(as_user: Path) -> None:
    (as_user / "tree").mkdir()
    (as_user / "tree/file").write_bytes(b"x")
    kept = capture(as_user / "tree")
    restored = kept.restore(as_user / "target")
    (as_user / "target").chmod(0o100)
    with pytest.raises(NotProven, match="cannot be read again") as caught:
        list(prove(as_user / "target", kept.entries, restored))
    assert "root" in caught.value.hint
    (as_user / "target").chmod(0o700)
    (as_user / "target/file").chmod(0)
    with pytest.raises(NotProven, match="cannot be read again"):
        list(prove(as_user / "target", kept.entries, restored))
