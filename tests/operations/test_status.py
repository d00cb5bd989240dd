"""What `status` makes of the run records of verifications."""

from datetime import timedelta

import pytest

from drtool.operations.results import Protection
from drtool.operations.session import Session, Silent, World
from drtool.operations.status import _failed_verifications, _last, _last_failure, _weaknesses, run_status
from drtool.operations.told_policy import policy_in_force
from drtool.policy.load import parse_policy
from drtool.repository.records import Record
from drtool.repository.runs import RunKind, put_run, read_runs
from tests.repository.counting import Noting
from tests.repository.stage import Stage, WholeSeconds, make_stage

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
    assert [run.value["level"] for run in _failed_verifications(runs_of(stage))] == levels


def runs_of(stage: Stage) -> list[Record]:
    return [run for run in read_runs(stage.writer().records) if isinstance(run, Record)]


def test_of_two_runs_within_a_second_the_later_one_is_the_last_and_tells_the_policy() -> None:
    stage = make_stage(kind=WholeSeconds)
    text = """{version: 1, name: shop, repository: {url: "file:///srv/shop"}, objectives: {rpo: %s, rto: 1h},
 volumes: [{name: files, source: files, path: /srv/files}]}"""
    for rpo in ("15m", "30m"):
        value = {"volume": "files", "outcome": "done", "seconds": rpo, "policy": text % rpo}
        put_run(stage.writer().records, "backup", stage.clock(), value)
    runs = runs_of(stage)

    last = _last(runs, "files", ("backup",), "done")
    session = Session(None, "", stage.writer(), World(stage.clock, {}, Silent()))
    policy, _ = policy_in_force(session, runs)

    assert len({run.received for run in runs}) == 1
    assert last is not None
    assert last.value["seconds"] == "30m"
    assert policy.objectives.rpo == timedelta(minutes=30)


@pytest.mark.parametrize("is_given", [False, True], ids=["the newest run tells it", "given"])
def test_a_volume_that_left_the_policy_has_no_month_of_runs_read_for_its_sake(*, is_given: bool) -> None:
    stage = make_stage()  # it knows another volume, too
    text = """{version: 1, name: shop, repository: {url: "file:///srv/shop"}, objectives: {rpo: 15m, rto: 1h},
 volumes: [{name: files, source: files, path: /srv/files}]}"""
    for _ in range(20):
        value = {"volume": "files", "outcome": "done", "seconds": 1, "policy": text}
        put_run(stage.writer().records, "backup", stage.clock(), value)
        stage.clock.leap(minutes=10)
    noting = Noting(stage.store)
    policy = parse_policy(text, "shop") if is_given else None
    session = Session(policy, "", stage.writer(noting), World(stage.clock, {}, Silent()))

    run_status(session)

    assert len([name for name in noting.of("get") if name.startswith("runs/")]) == 1


@pytest.mark.parametrize(
    ("of_wal", "told"),
    [("nothing listens", "nothing listens"), ("the slot is lost", "nothing listens; the slot is lost")],
)
def test_what_the_backup_and_the_wal_failed_with_is_said_once(of_wal: str, told: str) -> None:
    stage = make_stage()
    kinds: tuple[RunKind, ...] = ("backup", "wal")
    for kind, error in zip(kinds, ("nothing listens", of_wal), strict=True):
        value = {"volume": "pg18", "outcome": "failed", "error": error}
        put_run(stage.writer().records, kind, stage.clock(), value)

    assert _last_failure(runs_of(stage), "pg18") == told


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
