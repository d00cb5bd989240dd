from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from drtool.deploy.yaml_text import to_yaml

KEYS = st.text("abcxyz-./ :", min_size=1, max_size=8)
PRINTED = st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp"))
SCALARS = st.none() | st.booleans() | st.integers() | st.text(PRINTED, max_size=12)
LISTS = st.lists(SCALARS, max_size=3)
VALUES: Any = SCALARS | LISTS | st.dictionaries(KEYS, SCALARS | LISTS, max_size=3)
OBJECTS = st.dictionaries(KEYS, VALUES | st.lists(VALUES, max_size=3), min_size=1, max_size=3)


@given(OBJECTS)
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert YAML(typ="safe", pure=True).load(to_yaml(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("apps/v1", "apps/v1"),
        ("drtool:1", "drtool:1"),
        ("--due", '"--due"'),
        ("yes", '"yes"'),
        ("n", '"n"'),
        ("Null", '"Null"'),
        ("a: b", '"a: b"'),
        ("ends:", '"ends:"'),
        ("1e3", '"1e3"'),
        ("", '""'),
        (True, "true"),
        ([], "[]"),
    ],
)
def test_quotes_stand_where_a_reader_could_take_text_for_something_else(value: object, text: str) -> None:
    assert to_yaml({"key": value}) == f"key: {text}\n"
