"""Trees of all kinds of files, what they look like to the system without drtool's code, and a repository in a dict."""

import hashlib
import os
import random
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drtool.sources.base import Artifact, Captured, Entry, Json, Piece, Reference, Target
from drtool.sources.files.capture import FilesSource
from drtool.sources.files.restore import Restored, restore

PIECE = 1024 * 1024
AN_HOUR_AGO_NS = 3_600 * 10**9
AS_ROOT = os.geteuid() == 0
NOT_UTF_8 = b"caf\xe9"

# An ACL as the kernel keeps it: version 2, then (tag, permissions, id) of owner, user 12345, group, mask, others.
ACL = bytes.fromhex(
    "0200000001000600ffffffff020004003930000004000400ffffffff10000600ffffffff20000400ffffffff"
)


def clock() -> datetime:
    return datetime.now(UTC)


def later() -> datetime:
    """A clock an hour ahead, to which every file has been as it is for long."""
    return datetime.fromtimestamp(clock().timestamp() + 3600, UTC)


def make_tree(root: Path) -> None:
    """Make a directory with one of everything that a user of any rights can make; as root, more."""
    root.mkdir(exist_ok=True)
    (root / "plain").write_bytes(b"hello")
    (root / "empty").write_bytes(b"")
    (root / "large").write_bytes(hashlib.shake_128(b"large").digest(9 * PIECE + 17))
    (root / "a folder/deeper").mkdir(parents=True)
    (root / "a folder/deeper/page.html").write_text("<p>")
    (root / "an empty folder").mkdir()
    (root / "wörter.txt").write_text("ü")
    Path(os.fsdecode(os.fsencode(root) + b"/" + NOT_UTF_8)).write_bytes(b"latin")
    Path(os.fsdecode(os.fsencode(root / "wörter-") + NOT_UTF_8)).mkdir()
    Path(os.fsdecode(os.fsencode(root / "wörter-") + NOT_UTF_8 + b"/a\nb")).write_bytes(b"line")
    (root / "-rf *").write_text("a name")
    _make_links(root)
    _make_holes(root)
    os.setxattr(root / "plain", "user.comment", b"\xff\x00binary")
    os.setxattr(root / "a folder", "user.empty", b"")
    if _takes_acls(root):
        os.setxattr(root / "a folder/deeper/page.html", "system.posix_acl_access", ACL)
    if os.geteuid() == 0:
        _make_roots_own(root)
    for path in sorted(root.rglob("*"), reverse=True):
        at = 1_500_000_000_123_456_789 + len(path.name)
        os.utime(path, ns=(at, at), follow_symlinks=False)
    os.utime(root, ns=(1_400_000_000_000_000_001,) * 2)
    (root / "a folder").chmod(0o2750)
    (root / "large").chmod(0o400)


def _make_links(root: Path) -> None:
    (root / "link").symlink_to("plain")
    (root / "broken").symlink_to("/nowhere/at all")
    os.link(root / "plain", root / "z second name")
    os.link(root / "plain", root / "a folder/third name")
    os.mkfifo(root / "queue")


def _make_holes(root: Path) -> None:
    with (root / "sparse").open("wb") as file:
        for offset in (1_000_000, 5_000_000, 14_000_000):
            file.seek(offset)
            file.write(b"data" * 3000)
        file.truncate(20_000_000)
    with (root / "only a hole").open("wb") as file:
        file.truncate(3_000_000)
    with (root / "large with holes").open("wb") as file:
        file.write(hashlib.shake_128(b"holes").digest(9 * PIECE))
        file.seek(20 * PIECE)
        file.write(hashlib.shake_128(b"more").digest(PIECE + 5))


def _make_roots_own(root: Path) -> None:
    for number, name in enumerate(("somebody's", "a program")):
        (root / name).write_text(name)
        os.chown(root / name, 1234 + number, 4321)
    os.chown(root / "link", 77, 78, follow_symlinks=False)
    (root / "a program").chmod(0o4711)
    os.mknod(root / "device", stat.S_IFCHR | 0o640, os.makedev(1, 3))


def _takes_acls(root: Path) -> bool:
    try:
        os.setxattr(root / "plain", "system.posix_acl_access", ACL)
    except OSError:
        return False
    return True


def open_handles() -> int:
    """Return how many files this process holds open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def look(root: Path) -> dict[str, dict[str, Any]]:
    """Return what the system says of root and all below it, by relative path."""
    found = {".": _look_at(root)}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            found[str(path.relative_to(root))] = _look_at(path)
    inodes: dict[int, str] = {}
    for name in sorted(found):
        found[name]["same as"] = inodes.setdefault(found[name].pop("inode"), name)
    return found


def _look_at(path: Path) -> dict[str, Any]:
    status = path.lstat()
    told: dict[str, Any] = {
        "mode": status.st_mode,
        "owner": (status.st_uid, status.st_gid),
        "mtime": status.st_mtime_ns,
        "device": status.st_rdev,
        "inode": status.st_ino,
        "xattrs": {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        },
    }
    if path.is_symlink():
        told["target"] = os.fsencode(path.readlink())
    elif path.is_file():
        told["size"] = status.st_size
        with path.open("rb") as file:
            told["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return told


@dataclass
class Kept:
    """One capture, kept: what a repository would hold. Also what the next capture may ask of it."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    streams: dict[str, bytes] = field(default_factory=dict)
    referred: list[str] = field(default_factory=list)
    captured: Captured | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        assert self.captured
        return self.captured.facts

    @property
    def entries(self) -> list[Entry]:
        return [Entry(path, each.entry, len(self.streams[path])) for path, each in self.artifacts.items()]

    @property
    def read(self) -> list[str]:
        """The files that were read."""
        return [path for path, data in self.streams.items() if data and path not in self.referred]

    def unchanged(self, path: str, entry: Json, stat: bytes) -> Reference | None:
        known = self.artifacts.get(path)
        return Reference(path, entry, stat) if known and known.stat == stat else None

    def pieces(self, seed: int = 0) -> Iterator[Piece]:
        """The bytes of all artifacts in pieces, in some order."""
        pieces = [
            Piece(path, offset, data[offset : offset + PIECE])
            for path, data in self.streams.items()
            for offset in range(0, len(data), PIECE)
        ]
        random.Random(seed).shuffle(pieces)
        yield from pieces

    def restore(self, directory: Path, *, owner: tuple[int, int] | None = None, seed: int = 0) -> Restored:
        return restore(self.entries, self.pieces(seed), Target(directory, owner))


def capture(root: Path, previous: Kept | None = None, now: Any = later) -> Kept:
    """Capture root as an operation does."""
    kept = Kept()
    with FilesSource(root, now).capture(previous) as run:
        for each in run:
            assert each.path not in kept.artifacts
            keep(kept, each, previous)
        kept.captured = run.result()
    return kept


def keep(kept: Kept, each: Artifact | Reference, previous: Kept | None = None) -> None:
    """Take one artifact in."""
    if isinstance(each, Reference):
        assert previous
        kept.referred.append(each.path)
        kept.streams[each.path] = previous.streams[each.path]
        kept.artifacts[each.path] = Artifact(each.path, each.entry, stat=each.stat)
    else:
        kept.streams[each.path] = b"".join(each.stream)
        kept.artifacts[each.path] = each
