"""A volume is proven by what its restore proved: all of it, and something at all."""

from dataclasses import replace
from typing import Any, cast

import pytest

from drtool.errors import NotProven
from drtool.operations.cluster_restore.mover_end import hold_proofs
from drtool.operations.cluster_restore.replay import Replay
from drtool.recovery.steps import Step

STEP = Step("prove pg", "prove", "pg", ("restore pg",))
GOOD = {"name": "checksum", "ok": True, "expected": "1", "actual": "1"}


def replay(**results: Any) -> Replay:
    nothing = cast(Any, None)
    made = Replay(nothing, nothing, nothing, "r1", nothing, {}, nothing)
    return replace(made, results={name.replace("_", " "): value for name, value in results.items()})


def test_a_volume_is_proven_where_all_proofs_of_its_restore_hold() -> None:
    told = replay(restore_pg={"proofs": [GOOD, GOOD], "moment": "2026-01-01T00:00:00Z"})
    assert hold_proofs(told, STEP) == {"proofs": 2, "moment": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (
            {"restore_pg": {"proofs": [GOOD, {**GOOD, "ok": False, "actual": "2"}]}},
            "checksum: expected 1, found 2",
        ),
        ({"restore_pg": {"proofs": []}}, "nothing was proven"),
        ({"restore_other": {"proofs": [GOOD]}}, "nothing was proven"),
        ({}, "nothing was proven"),
    ],
)
def test_a_failed_proof_and_none_at_all_prove_nothing(results: Any, said: str) -> None:
    with pytest.raises(NotProven, match=said):
        hold_proofs(replay(**results), STEP)
