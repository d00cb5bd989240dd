"""The judge, by tables: what is there, and what must be said about it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drtool.errors import UsageError
from tests.cluster.load.compare import Found, KindComparison, compare, compare_kind
from tests.cluster.load.ledger import Ledger, Write

NOON = datetime(2025, 11, 25, 12, tzinfo=UTC)


def second(number: float) -> datetime:
    return NOON + timedelta(seconds=number)


def write(id_: str, begun: float, acknowledged: float | None) -> Write:
    moment = None if acknowledged is None else second(acknowledged)
    return Write("posts", id_, second(begun), moment, f"content of {id_}")


# a and b one after the other; c and d at the same time, d done first; e without an answer
WRITES = {
    each.id: each
    for each in (
        write("a", 0, 1),
        write("b", 2, 3),
        write("c", 4, 7),
        write("d", 5, 6),
        write("e", 8, None),
    )
}


def there(ids: str) -> list[Found]:
    return [Found(id_, f"content of {id_}") for id_ in ids]


def judge(found: Iterable[Found]) -> KindComparison:
    return compare_kind("posts", WRITES, found)


def ids(writes: Iterable[Write]) -> str:
    return "".join(each.id for each in writes)


def test_all_that_was_acknowledged_is_exact_with_and_without_what_is_in_doubt() -> None:
    for found, in_doubt in (("abcd", ()), ("abcde", ("e",))):
        verdict = judge(there(found))
        assert verdict.is_exact
        assert (verdict.begun, verdict.acknowledged, verdict.intact) == (5, 4, 4)
        assert verdict.in_doubt == in_doubt
        assert verdict.loss == timedelta(0)


@pytest.mark.parametrize(
    ("found", "missing", "holes", "loss"),
    [
        ("abc", "d", "", 0),  # c and d overlap: either may have come first, and c was acknowledged last
        ("abd", "c", "", 1),
        ("ab", "dc", "", 4),
        ("a", "bdc", "", 6),
        ("", "abdc", "", None),
        ("bcd", "a", "a", 0),
        ("acd", "b", "b", 0),
        ("ad", "bc", "b", 1),
        ("ac", "bd", "b", 0),
        ("abe", "dc", "dc", 4),  # what is in doubt and there was begun after c and d were real
    ],
)
def test_what_is_missing_is_the_newest_or_has_holes(
    found: str, missing: str, holes: str, loss: float | None
) -> None:
    verdict = judge(there(found))

    assert not verdict.is_exact
    assert ids(verdict.missing) == missing
    assert ids(verdict.holes) == holes
    assert verdict.loss == (None if loss is None else timedelta(seconds=loss))
    assert verdict.first_missing == WRITES[missing[0]].acknowledged
    assert verdict.last_acknowledged == second(7)


@pytest.mark.parametrize(
    ("found", "fault", "intact"),
    [
        ([*there("abcd"), *there("b")], {"twice": ("b",)}, 3),
        ([*there("acd"), Found("b", "content of b", runs=2)], {"twice": ("b",)}, 3),
        ([*there("abd"), Found("c", "another")], {"altered": ("c",)}, 3),
        ([*there("abd"), Found("c", None)], {"without_file": ("c",)}, 3),
        ([*there("abcd"), Found("z")], {"foreign": ("z",)}, 4),
    ],
)
def test_each_fault_has_its_name_and_no_other(
    found: list[Found], fault: dict[str, tuple[str, ...]], intact: int
) -> None:
    verdict = judge(found)
    names = ("missing", "holes", "twice", "altered", "without_file", "foreign", "in_doubt")

    assert {name: getattr(verdict, name) for name in names if getattr(verdict, name)} == fault
    assert verdict.intact == intact
    assert not verdict.is_exact


def test_a_write_in_doubt_that_is_altered_is_a_fault_all_the_same() -> None:
    verdict = judge([*there("abcd"), Found("e", "another")])

    assert verdict.altered == verdict.in_doubt == ("e",)
    assert not verdict.is_exact


@pytest.mark.parametrize("writes", [{}, {"e": WRITES["e"]}])
def test_a_ledger_without_a_promise_proves_nothing(writes: dict[str, Write]) -> None:
    with pytest.raises(UsageError, match="proves nothing"):
        compare(Ledger(writes), {"posts": there("".join(writes))})


def test_the_verdict_in_words_begins_with_the_answer_and_names_what_is_wrong() -> None:
    exact = compare(Ledger(WRITES), {"posts": there("abcd")})
    assert exact.text().splitlines() == [
        "exact: what was acknowledged is there",
        "posts: 4 intact of 4 acknowledged",
    ]

    wrong = compare(Ledger(WRITES, torn=1), {"posts": there("adz")})
    assert wrong.text().splitlines() == [
        "not what was acknowledged",
        "the ledger has 1 torn line(s), as of a generator that was killed",
        "posts: 2 intact of 4 acknowledged",
        "  missing: 2 (b, c)",
        "  holes: 1 (b)",
        "  foreign: 1 (z)",
        "  lost: 1.000 s, and not only the newest",
        "  last present 2025-11-25T12:00:06+00:00, first missing 2025-11-25T12:00:03+00:00",
    ]


def test_the_verdict_as_json_has_the_same_facts() -> None:
    value: dict[str, Any] = compare(Ledger(WRITES), {"posts": there("abde"), "tasks": []}).value()

    assert not value["exact"]
    assert value["tasks"]["exact"]
    posts = value["posts"]
    assert posts["missing"] == posts["holes"] == [{"id": "c", "at": "2025-11-25T12:00:07+00:00"}]
    assert posts["in_doubt"] == ["e"]
    assert posts["first_missing"] == posts["last_acknowledged"] == "2025-11-25T12:00:07+00:00"
    assert posts["last_present"] == "2025-11-25T12:00:06+00:00"
    assert posts["loss_seconds"] == 1
