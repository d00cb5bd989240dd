import errno
import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.demo.servers.process import wait_until
from drtool.errors import ObjectMissing, Refused, StoreOutage, StoreUnavailable
from drtool.repository.storage.directory import HALF_WRITTEN, LOCK, STALE_S, DirectoryStore
from tests.contracts.object_store import ObjectStoreContract, names, put


def now() -> datetime:
    return datetime.now(UTC)


class TestDirectoryStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> DirectoryStore:
        return DirectoryStore(tmp_path, now)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path, now)


def half_written(root: Path) -> list[Path]:
    return list((root / HALF_WRITTEN).iterdir())


def test_files_and_folders_are_their_owners_alone(store: DirectoryStore, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        put(store, "a/b/c", b"x")
        with store.lock(exclusive=False):
            pass
    finally:
        os.umask(umask)

    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_version_is_never_found(store: DirectoryStore) -> None:
    put(store, "a", b"x")

    with pytest.raises(ObjectMissing, match="no version 1"):
        store.get("a", "1")


def test_modified_is_the_files_time(store: DirectoryStore, tmp_path: Path) -> None:
    put(store, "a", b"x")
    os.utime(tmp_path / "a", (1_000_000_000, 1_000_000_000))

    (found,) = store.list("a")

    assert found.modified == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


def test_a_root_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "none", now)

    for call in (
        lambda: put(store, "a", b"x"),
        lambda: store.get("a"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreUnavailable, match="is not there") as raised:
            call()
        assert not isinstance(raised.value, ObjectMissing)
        assert "mount" in raised.value.hint
    assert not (tmp_path / "none").exists()


def test_no_symbolic_link_leads_out_of_the_root(store: DirectoryStore, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"not ours")
    (tmp_path / "folder").symlink_to(outside)
    (tmp_path / "file").symlink_to(outside / "secret")

    for call in (
        lambda: store.get("folder/secret"),
        lambda: store.get("file"),
        lambda: put(store, "folder/new", b"x"),
        lambda: store.delete("folder/secret"),
        lambda: list(store.list("folder/")),
        lambda: list(store.list("")),
    ):
        with pytest.raises(StoreUnavailable):
            call()
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_put_over_a_link_replaces_the_link(store: DirectoryStore, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_bytes(b"not ours")
    (tmp_path / "a").symlink_to(outside)

    put(store, "a", b"x")

    assert outside.read_bytes() == b"not ours"
    assert store.get("a") == b"x"


def test_what_drtool_did_not_name_is_not_listed(store: DirectoryStore, tmp_path: Path) -> None:
    put(store, "a", b"x")
    (tmp_path / "lost + found").mkdir()
    (tmp_path / "lost + found" / "b").write_bytes(b"y")
    (tmp_path / "a~").write_bytes(b"y")
    with store.lock(exclusive=True):
        assert names(store) == ["a"]


def test_what_is_no_file_is_not_read(store: DirectoryStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "folder"):
        with pytest.raises(StoreUnavailable):
            store.get(name)
    assert names(store) == []


def test_a_half_written_file_is_never_listed_and_goes_when_it_is_stale(
    store: DirectoryStore, tmp_path: Path
) -> None:
    put(store, "a", b"x")
    for name, age_s in (("dead", STALE_S + 60), ("alive", STALE_S - 60)):
        path = tmp_path / HALF_WRITTEN / name
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_mtime - age_s,) * 2)

    assert names(store) == ["a"]
    put(DirectoryStore(tmp_path, now), "b", b"y")

    assert [path.name for path in half_written(tmp_path)] == ["alive"]


@pytest.fixture
def small_files() -> Iterator[int]:
    """Let no file grow beyond 1 MiB: to the store, the disk is full."""
    limit = 1024 * 1024
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_nothing_half_written(
    store: DirectoryStore, tmp_path: Path, small_files: int
) -> None:
    put(store, "packs/a", b"old")

    for name in ("packs/a", "packs/b"):
        with pytest.raises(StoreUnavailable, match="no space is left") as raised:
            put(store, name, b"x" * (small_files + 1))
        assert "Free space" in raised.value.hint

    assert names(store) == ["packs/a"]
    assert store.get("packs/a") == b"old"
    assert half_written(tmp_path) == []


def test_an_error_of_the_disk_is_told_with_the_objects_name(store: DirectoryStore, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a file where a folder should be")

    with pytest.raises(StoreUnavailable, match="a/b"):
        put(store, "a/b", b"x")


def test_every_new_folder_is_synced_before_a_put_returns(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(file: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{file}").readlink().relative_to(tmp_path)))

    monkeypatch.setattr(os, "fsync", fsync)
    put(store, "a/b/c", b"x")
    temporary = next(path for path in synced if path.startswith(f"{HALF_WRITTEN}/"))
    first, synced[:] = list(synced), []
    put(store, "a/b/d", b"y")

    assert first == [".", ".", "a", temporary, "a/b"]
    assert len(synced) == 2
    assert synced[-1] == "a/b"


HOLDER = """
import sys
from pathlib import Path
from drtool.repository.storage.directory import DirectoryStore
with DirectoryStore(Path(sys.argv[1]), lambda: None).lock(exclusive=sys.argv[2] == "exclusive"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("theirs", "ours", "answer"),
    [
        ("shared", "shared", "ours too"),
        ("shared", "exclusive", "locked by another process"),
        ("exclusive", "shared", "locked by another process"),
        ("exclusive", "exclusive", "locked by another process"),
    ],
)
def test_writers_share_the_lock_and_prune_has_it_alone(
    store: DirectoryStore, tmp_path: Path, theirs: str, ours: str, answer: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), theirs], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert _lock(store, ours) == answer
        holder.kill()
    wait_until(lambda: _lock(store, "exclusive") == "ours too", "the dead holds nothing", deadline_s=10)


def _lock(store: DirectoryStore, how: str) -> str:
    try:
        with store.lock(exclusive=how == "exclusive"):
            return "ours too"
    except StoreOutage as refused:
        return refused.message.partition(" is ")[2]


def test_a_file_system_without_locks_stops_prune_but_no_backup(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)

    with store.lock(exclusive=False):
        put(store, "a", b"x")
    with pytest.raises(Refused, match="has no locks"), store.lock(exclusive=True):
        pass


def test_the_lock_is_no_object(store: DirectoryStore, tmp_path: Path) -> None:
    with store.lock(exclusive=True):
        assert (tmp_path / LOCK).exists()
        assert names(store) == []
