"""What has not come is told before the RPO is broken, and red once it is."""

from datetime import UTC, datetime, timedelta

import pytest

from drtool.operations.lateness import Seen, lateness
from drtool.policy.load import parse_policy

POLICY = parse_policy(
    """\
version: 1
name: forum
repository: {url: "file:///store"}
objectives: {rpo: 15m, rto: 1h}
volumes:
  - {name: redis, source: redis, host: redis, max_run: 10m}
  - {name: postgres, source: postgres, host: db, user: drtool, tail_every: 1m}
""",
    "policy",
)
DUE = datetime(2026, 11, 29, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("after", "spent", "red"),
    [
        (timedelta(0), timedelta(0), None),
        (MINUTE, timedelta(0), None),  # a tenth of the RPO is what a run may take
        (2 * MINUTE, timedelta(0), False),
        (2 * MINUTE, 5 * MINUTE, None),  # the last one took longer than that
        (11 * MINUTE, 5 * MINUTE, False),
        (17 * MINUTE, timedelta(0), True),  # the next one has been missed too, and had time to end
    ],
)
def test_a_run_that_was_due_and_did_not_come_is_told(
    after: timedelta,
    spent: timedelta,
    red: bool | None,  # noqa: FBT001 - a column of a table
) -> None:
    found = list(lateness(POLICY, POLICY.volume("redis"), Seen(DUE, spent), DUE + after))
    assert [each.red for each in found] == ([] if red is None else [red])
    assert all("redis" in each.text and "2026-11-29T04:00:00Z" in each.text for each in found)


@pytest.mark.parametrize(("minutes", "red"), [(3, None), (4, False), (15, False), (16, True)])
def test_wal_that_does_not_come_is_told(
    minutes: int,
    red: bool | None,  # noqa: FBT001 - a column of a table
) -> None:
    seen = Seen(DUE + timedelta(days=1), timedelta(0), DUE - minutes * MINUTE)
    found = list(lateness(POLICY, POLICY.volume("postgres"), seen, DUE))
    assert [each.red for each in found] == ([] if red is None else [red])
    assert all(f"has come for {minutes} min" in each.text for each in found)
