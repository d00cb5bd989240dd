from datetime import UTC, datetime, timedelta, timezone

import pytest

from drtool.policy.moments import exact, to_second


@pytest.mark.parametrize(
    ("moment", "text", "second"),
    [
        (datetime(2026, 11, 25, 10, tzinfo=UTC), "2026-11-25T10:00:00Z", "2026-11-25T10:00:00Z"),
        (
            datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
            "2026-11-25T10:00:00.123456Z",
            "2026-11-25T10:00:00Z",
        ),
    ],
)
def test_a_moment_is_told_in_utc(moment: datetime, text: str, second: str) -> None:
    assert (exact(moment), to_second(moment)) == (text, second)
