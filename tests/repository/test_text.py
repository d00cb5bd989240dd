"""Keys as lines that a person types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import UsageError
from drtool.repository.format.text import encode_key, find_keys

VALUE = bytes(range(48))
LINE = encode_key("RECOVERY", VALUE)


@given(value=st.binary(min_size=1, max_size=64), kind=st.sampled_from(["RECOVERY", "ADMIN", "X"]))
def test_a_line_gives_its_value_back(value: bytes, kind: str) -> None:
    assert find_keys(encode_key(kind, value)) == {kind: value}


@pytest.mark.parametrize(
    "text",
    [LINE, LINE.lower(), f"the first key: {LINE}\n", f'"{LINE}"', f"{LINE}\n{LINE}\n", f"\ufeff{LINE}"],
)
def test_a_key_is_found_wherever_it_stands(text: str) -> None:
    assert find_keys(text) == {"RECOVERY": VALUE}


@pytest.mark.parametrize(
    "typed",
    [
        LINE.replace("-", ""),
        LINE.replace("-", " "),
        LINE.replace("-", "\u2013"),
        LINE[:40] + LINE[41:],
        LINE[:39].replace("DRTOOL-", "DRTOOL ") + "\n   " + LINE[39:],
        LINE[:40] + "\r\n" + LINE[40:] + "\r\nkeep this away from the cluster",
        LINE.lower().replace("-", " - ") + " is the key",
    ],
)
def test_dashes_blanks_and_ends_of_lines_are_no_part_of_a_key(typed: str) -> None:
    assert find_keys(typed) == {"RECOVERY": VALUE}
    first = typed.upper().index("RECOVERY") + len("RECOVERY")
    at = next(at for at in range(first, len(typed)) if typed[at].isalnum())
    with pytest.raises(UsageError, match="mistyped") as caught:
        find_keys(typed[:at] + ("b" if typed[at] in "aA" else "a") + typed[at + 1 :])
    assert caught.value.hint


def test_prose_about_a_key_is_none() -> None:
    assert find_keys("Each drtool recovery key that this drtool seed and drtool trust make is secret.") == {}


def test_keys_of_several_kinds_are_told_apart() -> None:
    text = f"{LINE}\n{encode_key('ADMIN', b'a' * 32)}\n"
    assert find_keys(text) == {"RECOVERY": VALUE, "ADMIN": b"a" * 32}


@pytest.mark.parametrize("text", ["", "hello", "DRTOOL-RECOVERY-", LINE.replace("DRTOOL", "DRTOO")])
def test_text_without_a_key_holds_none(text: str) -> None:
    assert find_keys(text) == {}


def test_every_mistyped_letter_is_noticed_and_the_key_is_not_repeated() -> None:
    start = len("DRTOOL-RECOVERY-")
    for at in range(start, len(LINE) - 1):  # the last letter holds spare bits
        if LINE[at] == "-":
            continue
        typed = LINE[:at] + ("A" if LINE[at] != "A" else "B") + LINE[at + 1 :]
        with pytest.raises(UsageError, match="mistyped") as caught:
            find_keys(typed)
        assert LINE[start : start + 9] not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "typed",
    [
        LINE[:-6],
        LINE.replace("DRTOOL-RECOVERY", "DRTOOL-ADMIN"),
        "DRTOOL-RECOVERY-AAAA-A",
        "DRTOOL-RECOVERY-AAAA-AA",
        "DRTOOL-ADMIN-AAAA-AAAA",
    ],
)
def test_a_line_that_is_cut_or_of_another_kind_is_mistyped(typed: str) -> None:
    with pytest.raises(UsageError, match="mistyped"):
        find_keys(typed)


def test_two_different_keys_of_a_kind_are_refused() -> None:
    with pytest.raises(UsageError, match="two different recovery keys"):
        find_keys(f"{LINE}\n{encode_key('RECOVERY', bytes(48))}")
