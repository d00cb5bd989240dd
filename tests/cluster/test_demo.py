"""What the demo takes for a hole in what came back."""

from datetime import UTC, datetime

import pytest

from drtool.errors import NotProven
from tests.cluster.demo import _refuse_a_hole
from tests.cluster.load.compare import Comparison, Found, compare_kind
from tests.cluster.load.ledger import Write

EARLIER, LATER = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (1, 2))
PROMISED = Write("uploads", "a", EARLIER, EARLIER, "content")
NEWER = Write("uploads", "b", LATER, None, "content")  # than the point of the files


@pytest.mark.parametrize(
    "found", [[], [Found("a", None)], [Found("a", "other")], [Found("a", "content"), Found("z")]]
)
def test_what_was_promised_and_is_not_there_whole_is_no_proof(found: list[Found]) -> None:
    judged = Comparison((compare_kind("uploads", {"a": PROMISED, "b": NEWER}, found),), 0)

    with pytest.raises(NotProven, match="not what was acknowledged"):
        _refuse_a_hole(judged, frozenset())


def test_a_row_that_is_newer_than_the_point_of_its_file_is_no_hole() -> None:
    found = [Found("a", "content"), Found("b", None), Found("y")]
    judged = Comparison((compare_kind("uploads", {"a": PROMISED, "b": NEWER}, found),), 0)

    _refuse_a_hole(judged, frozenset("y"))
