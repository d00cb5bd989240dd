"""The tar parser against archives of Python's own tarfile, in any cut, and against damage."""

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drtool.errors import SourceUnavailable
from drtool.sources.postgres.tar import Member, read_members


def archive(*files: tuple[str, bytes], links: tuple[tuple[str, str], ...] = ()) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        directory = tarfile.TarInfo("base/1/")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(directory)
        for name, content in files:
            header = tarfile.TarInfo(name)
            header.size, header.mode, header.mtime = len(content), 0o600, 1_700_000_000
            tar.addfile(header, io.BytesIO(content))
        for name, target in links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return stream.getvalue()


def cut(data: bytes, size: int) -> Iterator[memoryview]:
    return (memoryview(data)[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, size: int = 32768) -> list[tuple[Member, bytes]]:
    return [(member, b"".join(content)) for member, content in read_members(cut(data, size))]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=2000), max_size=4), st.integers(1, 3000))
def test_every_member_comes_back_whatever_the_cut(contents: list[bytes], size: int) -> None:
    files = [(f"base/1/{number}", content) for number, content in enumerate(contents)]
    directory, *members = read(archive(*files), size)
    assert directory == (Member("base/1", "directory", 0, 0o700, 0), b"")
    assert [(member.path, content) for member, content in members] == files
    assert {(member.mode, member.mtime) for member, _ in members} <= {(0o600, 1_700_000_000)}


def test_content_that_nobody_reads_is_skipped() -> None:
    data = archive(("one", b"1" * 1000), ("two", b"2"))
    assert [member.path for member, _ in read_members(cut(data, 100))] == ["base/1", "one", "two"]


def test_a_link_has_its_target_and_a_long_name_its_prefix() -> None:
    name = "/".join(["directory"] * 15)
    *_, (long, content), (link, _) = read(archive((name, b"x"), links=(("pg_wal", "/wal"),)))
    assert (long.path, content) == (name, b"x")
    assert (link.kind, link.target, link.size) == ("symlink", "/wal", 0)


def test_a_size_in_base_256_is_read() -> None:
    header = bytearray(archive(("f", b"abc"))[512:1024])
    header[124:136] = (0x80 << 88 | 3).to_bytes(12, "big")
    sealed = with_checksum(header)
    assert read(sealed + b"abc".ljust(512, b"\0") + bytes(1024))[0][1] == b"abc"


def with_checksum(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def changed(at: int, value: bytes) -> bytes:
    header = bytearray(archive(("file", b""))[512:1024])
    header[at : at + len(value)] = value
    return with_checksum(header) + bytes(1024)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (archive(("f", b"x" * 5000))[:3000], "ended inside"),
        (archive(("f", b"x"))[:1024], "ended inside"),
        (b"", "ended inside"),
        (b"x" * 512, "damaged tar header"),
        (archive(("f", b"x")) + b"more".ljust(512, b"\0"), "after the end"),
        (changed(156, b"L"), "unknown type"),
        (changed(257, b"other"), "unknown type"),
        (changed(124, b"zzz"), "damaged tar header"),
        (changed(0, b"/etc/passwd"), "outside of the data directory"),
        (changed(0, b"../passwd"), "outside of the data directory"),
        (changed(0, b"caf\xe9"), "not UTF-8"),
    ],
)
def test_what_is_no_whole_archive_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(SourceUnavailable, match=said):
        read(data)
