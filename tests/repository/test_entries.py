"""The lines of entries: what the fast way writes is what the encoder of JSON would."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.repository.format.entries import encode_entry, encode_line

NAMES = st.sampled_from(["type", "mode", "uid", "gid", "mtime", "target", "to"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = (
    TEXT | st.integers() | st.booleans() | st.none() | st.dictionaries(TEXT, TEXT) | st.lists(st.integers())
)


@given(TEXT, st.integers(0), st.dictionaries(NAMES, VALUES))
def test_a_line_is_what_the_encoder_of_json_writes(path: str, size: int, entry: dict[str, Any]) -> None:
    value = {"path": path, "size": size, "entry": entry}
    assert encode_entry(path, size, entry) == encode_line(value)
    assert json.loads(encode_entry(path, size, entry)) == value


@pytest.mark.parametrize("path", ["a\nb", 'quote "', "\0caf\xe9", "back\\slash", "\u2028", "\x7f"])
def test_a_path_of_any_characters_stays_on_its_line(path: str) -> None:
    line = encode_entry(path, 1, {"type": "file", "mode": 0o644})
    assert line.count(b"\n") == 1
    assert json.loads(line)["path"] == path
