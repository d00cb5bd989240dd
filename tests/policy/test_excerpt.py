import pytest

from drtool.policy.excerpt import Span, excerpt


@pytest.mark.parametrize(
    ("line", "column", "hidden", "shown", "caret"),
    [
        ("name: forum", 6, [], "name: forum", 6),
        ("\tname", 1, [], " name", 1),
        ("x: \x1b[31mred", 3, [], "x:  [31mred", 3),
        ("password: hunter2", 10, [], "password: ********", 10),
        ("password: hunter2", 14, [], "password: ********", 10),
        ("password: hunter2, x: y", 19, [], "password: ********, x: y", 20),
        ("DB_PASS: 'hunter2'", 0, [], "DB_PASS: ********", 0),
        ('"api_token": hunter2', 0, [], '"api_token": ********', 0),
        ("password: {env: NAME}", 10, [], "password: {env: NAME}", 10),
        ("url: postgres://u:hunter2@db/x", 0, [], "url: postgres://u:********@db/x", 0),
        ('notify: [{url: "https://hooks.x/hunter2"}', 0, [], 'notify: [{url: "https://hooks.x/********"}', 0),
        ("heartbeat: https://hc-ping.com/hunter2", 0, [], "heartbeat: https://hc-ping.com/********", 0),
        ("- url: https://x?token=hunter2, b: 1", 0, [], "- url: https://x?********, b: 1", 0),
        ("- url: slack://hunter2/b/c]", 0, [], "- url: slack://********]", 0),
        ("url: s3://bucket/forum", 0, [], "url: s3://bucket/forum", 0),
        ("endpoint: https://s3.example.org", 0, [], "endpoint: https://s3.example.org", 0),
        ("a: hunter2", 0, [((0, 3), (0, 10))], "a: ********", 0),
        ("a: hunter2", 0, [((0, 3), (2, 1))], "a: ********", 0),
        ("hunter2, b: 1", 9, [((-1, 3), (0, 7))], "********, b: 1", 10),
        ("hunter2", 0, [((-1, 3), (1, 7))], "********", 0),
        ("a: hunter2", 0, [((0, 3), (0, 7)), ((0, 5), (0, 10))], "a: ********", 0),
        ("a: x", 0, [((3, 0), (4, 0)), ((0, 2), (0, 2))], "a: x", 0),
    ],
)
def test_a_line_is_shown_without_its_secrets_and_the_caret_in_place(
    line: str, column: int, hidden: list[Span], shown: str, caret: int
) -> None:
    first, second = excerpt([line], (0, column), hidden)
    assert first == f"    1 | {shown}"
    assert second == "      | " + " " * caret + "^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    first, second = excerpt(["x" * 500 + "!" + "y" * 500], (0, 500), [])
    assert len(first) < 130
    assert first[second.index("^")] == "!"


def test_a_place_behind_the_text_has_no_line() -> None:
    assert excerpt(["a"], (1, 0), []) == []
