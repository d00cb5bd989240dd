"""What `status` makes of the run records of verifications."""

import pytest

from drtool.operations.results import Protection
from drtool.operations.status import _failed_verifications, _weaknesses
from drtool.repository.records import Record
from drtool.repository.runs import put_run, read_runs
from tests.repository.stage import make_stage

FAILED_L1 = {"level": "L1", "outcome": "failed", "share": 1.0}


@pytest.mark.parametrize(
    ("later", "levels"),
    [
        ([], ["L1"]),
        ([{"level": "L0", "outcome": "done", "share": 1.0}], ["L1"]),
        ([{"level": "L1", "outcome": "done", "share": 0.05}], ["L1"]),
        ([{"level": "L2", "outcome": "done", "share": 0.05}], ["L1"]),
        ([{"level": "L1", "outcome": "done", "share": 1.0}], []),
        ([{"level": "L2", "outcome": "done", "share": 1.0}], []),
        ([{"level": "L2", "outcome": "done"}], []),
        ([{"level": "L2", "outcome": "failed", "share": 0.05}], ["L1", "L2"]),
        ([{"level": "L2", "outcome": "failed", "share": 1.0}], ["L2"]),
    ],
)
def test_what_a_verification_found_stays_red_until_as_much_was_read_again(
    later: list[dict[str, object]], levels: list[str]
) -> None:
    stage = make_stage()
    records = stage.writer().records
    for value in (FAILED_L1, *later):
        put_run(records, "verify", stage.clock(), dict(value))
    runs = [run for run in read_runs(records) if isinstance(run, Record)]
    assert [run.value["level"] for run in _failed_verifications(runs)] == levels


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("s3://bucket/shop", "`drtool keys s3-policy writer`"),
        ("file:///srv/shop", "only a bucket can refuse that"),
    ],
)
def test_what_mends_a_weakness_is_said_as_far_as_the_store_can(url: str, mend: str) -> None:
    [said] = _weaknesses(Protection("protected", weaknesses=("it may read packs",)), url)
    assert mend in said
