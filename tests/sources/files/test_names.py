"""Names of files: any bytes there and back, and none that leads out of a tree."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt
from drtool.sources.files.names import shown, text_of, to_parts, to_path, to_text

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)


@given(NAMES)
def test_every_path_comes_back_from_its_text_which_is_unicode(path: bytes) -> None:
    text = to_text(path)
    assert to_path(text) == path
    text.encode()


@given(NAMES)
def test_a_path_as_the_system_decodes_it_has_the_same_text(path: bytes) -> None:
    assert text_of(os.fsdecode(path)) == to_text(path)


@given(NAMES, NAMES)
def test_no_two_paths_have_one_text(one: bytes, other: bytes) -> None:
    assert (to_text(one) == to_text(other)) == (one == other)


def test_a_path_that_is_utf_8_is_its_own_text() -> None:
    assert to_text("a/wörter".encode()) == "a/wörter"


@pytest.mark.parametrize(
    ("text", "parts"),
    [(".", ()), ("a", (b"a",)), ("a/b c/...", (b"a", b"b c", b"...")), ("\0\xe9/a", (b"\xe9", b"a"))],
)
def test_a_path_has_parts_and_the_tree_itself_none(text: str, parts: tuple[bytes, ...]) -> None:
    assert to_parts(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "a/..",
        "../a",
        "a//b",
        "a/",
        "./a",
        "a/.",
        "\0..",
        "a\0b",
        "\0\0",
        "\0ü€",
        "\udce9",
    ],
)
def test_a_path_that_could_lead_out_of_the_tree_or_exists_nowhere_is_refused(text: str) -> None:
    with pytest.raises(Corrupt):
        to_parts(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a b", "a b"), ("a\nb\x1b[31m", r"a\nb\x1b[31m"), ("\0caf\xe9", r"caf\xe9"), ("wörter", "wörter")],
)
def test_a_path_is_shown_on_one_line_and_moves_no_cursor(text: str, said: str) -> None:
    assert shown(text) == said
