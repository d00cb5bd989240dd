"""A capture: what is read and what is not, what changes meanwhile, what may not be read."""

import base64
import hashlib
import mmap
import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from drtool.errors import SourceUnavailable
from drtool.sources.base import Artifact, Reference
from drtool.sources.files.capture import ATTEMPTS, HELD, FilesSource, files_notes
from drtool.sources.files.content import Content, open_file
from drtool.sources.files.trailer import SIZE, decode_end, encode_whole
from drtool.sources.files.walk import Seen
from tests.sources.files.trees import Kept, capture, clock, keep, later, open_handles

MB = 1024 * 1024


def data(kept: Kept, path: str) -> bytes:
    stream = kept.streams[path]
    return stream[: -len(decode_end(stream).encode())]


def test_a_file_is_its_bytes_and_what_they_hash_to(tree: Path) -> None:
    kept = capture(tree)
    for path in ("a folder/third name", "large", "a folder/deeper/page.html"):
        content = (tree / path).read_bytes()
        assert data(kept, path) == content
        assert decode_end(kept.streams[path]).sha256 == hashlib.sha256(content).digest()
    assert kept.streams["empty"] == b""


def test_the_facts_count_what_was_met_and_the_span_is_that_of_the_walk(tree: Path) -> None:
    before = clock()
    kept = capture(tree, now=clock)
    assert kept.captured
    assert before <= kept.captured.begin <= kept.captured.end <= clock()
    counts = kept.facts["counts"]
    assert counts["hard link"] == 2
    assert counts["symlink"] == 2
    assert counts["fifo"] == 1
    assert counts["file"] == len(
        [path for path, each in kept.artifacts.items() if each.entry["type"] == "file"]
    )
    assert list(files_notes(kept.facts)) == []


def test_holes_are_not_read(tree: Path) -> None:
    kept = capture(tree)
    assert len(data(kept, "sparse")) < MB
    assert data(kept, "only a hole") == b""
    assert decode_end(kept.streams["only a hole"]).length == 3_000_000
    assert len(data(kept, "large with holes")) < 11 * MB


def test_what_is_unchanged_is_referred_to_and_not_opened(tree: Path) -> None:
    first = capture(tree)
    (tree / "large").chmod(0o440)  # its ctime changes with its mode: it is read again
    second = capture(tree, first)
    assert second.read == ["large"]
    assert (
        second.facts["counts"]["unchanged"] == second.facts["counts"]["file"] - 2
    )  # the empty one has no content
    assert second.artifacts["large"].entry["mode"] == 0o440


def change_content(path: Path) -> None:
    path.write_bytes(b"HELLO")


def change_content_and_hide_it(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"HELLO")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_another(path: Path) -> None:
    status = path.stat()
    (path.parent / "new").write_bytes(b"HELLO")
    (path.parent / "new").rename(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [change_content, change_content_and_hide_it, replace_by_another, append])
def test_a_file_that_changed_is_read_again(tmp_path: Path, change: Callable[[Path], None]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"hello")
    (root / "other").write_bytes(b"hello")
    first = capture(root)
    change(root / "file")
    second = capture(root, first)
    assert second.read == ["file"]
    assert data(second, "file") == (root / "file").read_bytes()


def test_metadata_is_that_of_now_also_where_the_content_is_referred_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    first = capture(tmp_path)
    kept = Kept(artifacts=dict(first.artifacts), streams=first.streams, captured=first.captured)
    second = capture(tmp_path, kept)
    assert second.referred == ["file"]
    assert second.artifacts["file"].entry == first.artifacts["file"].entry


def test_what_was_written_a_moment_ago_has_no_stat_record_for_it_may_change_in_the_same_tick(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    first = capture(tmp_path, now=clock)
    assert first.artifacts["file"].stat is None
    assert capture(tmp_path, first).read == ["file"]
    assert capture(tmp_path, now=later).artifacts["file"].stat is not None


def test_each_name_of_one_file_but_the_first_is_a_link_to_it(tree: Path) -> None:
    kept = capture(tree)
    links = {
        path: each.entry["to"] for path, each in kept.artifacts.items() if each.entry["type"] == "hardlink"
    }
    assert links == {"plain": "a folder/third name", "z second name": "a folder/third name"}


def test_what_is_not_read_again_is_described_anew_with_its_attributes(tree: Path) -> None:
    first = capture(tree)
    second = capture(tree, first)
    assert second.read == []
    assert {path: each.entry for path, each in second.artifacts.items()} == {
        path: each.entry for path, each in first.artifacts.items()
    }
    assert second.artifacts["a folder/third name"].entry["xattrs"]


def test_a_socket_is_left_out_and_said(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        kept = capture(tmp_path)
    assert list(kept.artifacts) == ["."]
    assert kept.facts["named"] == {"sockets left out": ["s"]}
    [note] = files_notes(kept.facts)
    assert note.startswith("1 sockets")


def meddle(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
    """Do one of acts each time that the bytes of a file were read, and before it is looked at again."""
    left = list(acts)

    class Meddled(Content):
        def __iter__(self) -> Iterator[bytes]:
            yield from super().__iter__()
            act()

    def act() -> None:
        if left:
            left.pop(0)()

    def meddled(whole: bytes) -> bytes:
        act()
        return encode_whole(whole)

    monkeypatch.setattr("drtool.sources.files.capture.Content", Meddled)
    monkeypatch.setattr("drtool.sources.files.capture.encode_whole", meddled)


def test_a_small_file_that_changes_once_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old" * 100)
    meddle(monkeypatch, lambda: path.write_bytes(b"new" * 200))
    kept = capture(tmp_path)
    assert data(kept, "file") == b"new" * 200
    assert kept.facts["named"] == {}
    assert kept.artifacts["file"].stat is None


def test_a_small_file_that_never_stands_still_is_kept_as_last_read_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"line\n")

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"line\n")

    meddle(monkeypatch, *[grow] * 10)
    kept = capture(tmp_path)
    assert data(kept, "access.log") == b"line\n" * (ATTEMPTS + 1)  # at once, then as often as it says
    assert kept.facts["named"] == {"changed while read": ["access.log"]}
    assert kept.artifacts["access.log"].stat is None
    [note] = files_notes(kept.facts)
    assert note.startswith("1 files changed")
    assert "access" not in note  # run records keep it, and hold no path


def test_a_large_file_that_grows_ends_where_it_ended_when_it_was_opened_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (HELD + MB))
    with FilesSource(tmp_path, later).capture(None) as run:
        kept = Kept()
        for each in run:
            assert isinstance(each, Artifact)
            pieces = []
            for piece in each.stream:
                pieces.append(piece)
                if each.path == "log":
                    with path.open("ab") as file:
                        file.write(b"more")
            kept.streams[each.path] = b"".join(pieces)
        kept.captured = run.result()
    assert data(kept, "log") == b"x" * (HELD + MB)
    assert kept.facts["named"] == {"changed while read": ["log"]}


def test_a_large_file_that_is_cut_while_it_is_read_ends_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (HELD + 2 * MB))
    with FilesSource(tmp_path, later).capture(None) as run:
        streams = {}
        for each in run:
            assert isinstance(each, Artifact)
            stream = iter(each.stream)
            if each.path == "log":
                first = next(stream)
                os.truncate(path, 3 * MB + 5)
                streams["log"] = b"".join((first, *stream))
        assert run.result().facts["named"] == {"changed while read": ["log"]}
    trailer = decode_end(streams["log"])
    assert (trailer.length, trailer.extents) == (3 * MB + 5, ((0, 3 * MB + 5),))
    assert len(streams["log"]) == 3 * MB + 5 + SIZE


def put_in_place(path: Path, what: str) -> None:
    match what:
        case "a link":
            path.symlink_to("a")
        case "a folder":
            path.mkdir()
        case "a fifo":
            os.mkfifo(path)


@pytest.mark.parametrize("size", [10, HELD + MB])
@pytest.mark.parametrize("gone", ["removed", "a link", "a folder", "a fifo"])
def test_a_file_that_vanishes_between_list_and_reading_is_a_note(
    tmp_path: Path, gone: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b"
    for name in "abc":
        (tmp_path / name).write_bytes(b"x" * size if name == "b" else b"y")

    def meddled(seen: Seen) -> tuple[int, os.stat_result]:
        if seen.path == "b":
            path.unlink()
            put_in_place(path, gone)
        return open_file(seen)

    for module in ("capture", "content"):
        monkeypatch.setattr(f"drtool.sources.files.{module}.open_file", meddled)
    kept = capture(tmp_path)
    assert list(kept.artifacts) == [".", "a", "c"]
    assert kept.facts["named"] == {"vanished": ["b"]}


def test_an_unreadable_file_fails_the_volume_with_its_path_in_the_hint_and_whose_it_is(as_user: Path) -> None:
    (as_user / "open").write_bytes(b"x")
    (as_user / "secret.key").write_bytes(b"x")
    (as_user / "secret.key").chmod(0)
    with pytest.raises(SourceUnavailable, match=r"permission denied \(mode 0000, owner") as caught:
        capture(as_user)
    assert "secret.key" in caught.value.hint
    assert "baseline" in caught.value.hint
    assert "secret" not in caught.value.message  # run records keep it, and hold no path


def test_a_volume_that_was_full_and_is_empty_now_is_taken_for_not_mounted(tree: Path, tmp_path: Path) -> None:
    kept = capture(tree)
    empty = tmp_path / "empty"
    (empty / "lost+found").mkdir(parents=True) if os.geteuid() == 0 else empty.mkdir()
    with pytest.raises(SourceUnavailable, match="is empty, and its last point held") as caught:
        capture(empty, kept)
    assert "Mount" in caught.value.hint
    assert list(capture(empty).artifacts) == ["."]
    (empty / "file").touch()
    assert list(capture(empty, kept).artifacts) == [".", "file"]


def test_a_result_is_only_told_of_a_walk_that_came_to_its_end(tree: Path) -> None:
    with FilesSource(tree, later).capture(None) as run:
        steps: Iterator[Artifact | Reference] = iter(run)
        keep(Kept(), next(steps))
        with pytest.raises(SourceUnavailable):
            run.result()


def test_nothing_stays_open(tree: Path) -> None:
    before = open_handles()
    capture(tree)
    with FilesSource(tree, later).capture(None) as run:
        next(iter(run))
    assert open_handles() == before


def test_a_change_by_memory_is_seen_though_its_page_was_stamped_long_before(tmp_path: Path) -> None:
    """The kernel stamps a mapped file when a page of it is written to first, and again once the disk has that page."""
    path = tmp_path / "database"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = 1
        first = capture(tmp_path, now=lambda: clock() + timedelta(seconds=20))
        memory[1] = 1
        second = capture(tmp_path, first)
    assert data(second, "database") == b"\1\1" + bytes(4094)


def test_a_link_that_becomes_a_file_before_it_is_read_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "link"
    path.symlink_to("nowhere")
    read = os.readlink

    def meddled(name: str, *, dir_fd: int) -> str:
        path.unlink()
        path.write_bytes(b"x")
        return read(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "readlink", meddled)
    kept = capture(tmp_path)
    assert list(kept.artifacts) == ["."]
    assert kept.facts["named"] == {"vanished": ["link"]}


def test_an_attribute_that_cannot_be_had_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.setxattr(path, "user.b", b"kept")
    names = os.listxattr
    monkeypatch.setattr(os, "listxattr", lambda *place, **how: ["user.a", *names(*place, **how)])
    assert capture(tmp_path).artifacts["file"].entry["xattrs"] == {
        "user.b": base64.b64encode(b"kept").decode()
    }
