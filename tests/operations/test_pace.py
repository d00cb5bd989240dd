"""How fast volumes came back before: what an operator measured, the newest of each volume."""

from typing import Any

import pytest

from drtool.operations.pace import pace_of
from drtool.repository.runs import RunKind, put_run
from tests.repository.stage import Stage, make_stage, put


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def told(stage: Stage, kind: RunKind = "restore", role: str = "operator", **value: Any) -> None:
    seed = stage.created.operator_seed
    records = stage.records_of(role, seed) if role == "operator" else stage.writer().records
    stage.clock.leap(hours=1)
    put_run(records, kind, stage.clock(), {"volume": "media", "outcome": "done", **value})


def pace(stage: Stage) -> dict[str, float]:
    return pace_of(stage.writer().records, stage.clock.now.replace(hour=0))


def test_the_newest_restore_of_each_volume_tells(stage: Stage) -> None:
    told(stage, size=100, seconds=1)
    told(stage, size=100, seconds=4)
    told(stage, "drill", volume="redis", size=30, seconds=1.5)

    assert pace(stage) == {"media": 25, "redis": 20}


@pytest.mark.parametrize(
    "value",
    [
        {"outcome": "failed"},
        {"size": 0},
        {"seconds": 0},
        {"seconds": None},
        {"size": "much"},
        {"role": "writer"},
        {"kind": "verify"},
    ],
)
def test_what_measured_nothing_or_may_not_say_so_does_not_count(stage: Stage, value: dict[str, Any]) -> None:
    told(stage, **{"size": 100, "seconds": 10, **value})
    put(stage.store, f"runs/{stage.clock():%Y%m%d}/20260302T080000.000Z-restore-{'0' * 64}", b"junk")

    assert pace(stage) == {}


def test_only_restores_are_fetched(stage: Stage) -> None:
    told(stage, "backup", role="writer")
    told(stage, "verify", size=1, seconds=1)

    assert pace(stage) == {}
