from datetime import UTC, datetime, timedelta

import pytest

from drtool.demo.ledger import Ledger, Post

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
POSTS = [Post(number, 1, 1, f"post {number}") for number in range(3)]


@pytest.fixture
def ledger() -> Ledger:
    """Three posts, a minute apart from noon on."""
    ledger = Ledger()
    for minutes, post in enumerate(POSTS):
        ledger.acknowledge(post, NOON + timedelta(minutes=minutes))
    return ledger


def test_what_is_as_it_was_told_is_exact(ledger: Ledger) -> None:
    found = ledger.compare(reversed(POSTS))

    assert found.is_exact
    assert found.intact == len(POSTS)


def test_what_is_missing_is_lost_at_the_moment_of_its_acknowledgement(ledger: Ledger) -> None:
    found = ledger.compare(POSTS[:1])

    assert found.lost == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    assert not found.is_exact


def test_one_altered_word_is_found(ledger: Ledger) -> None:
    found = ledger.compare([*POSTS[:2], POSTS[2]._replace(body="another")])

    assert found.altered == (2,)
    assert not found.is_exact


def test_a_row_that_nobody_was_told_of_is_unknown(ledger: Ledger) -> None:
    found = ledger.compare([*POSTS, Post(9, 1, 1, "from nowhere")])

    assert found.unknown == (9,)
    assert not found.is_exact


def test_the_ledger_of_a_moment_ends_with_it(ledger: Ledger) -> None:
    then = ledger.until(NOON + timedelta(minutes=1))

    assert then.compare(POSTS[:2]).is_exact
    assert then.compare(POSTS).unknown == (2,)
