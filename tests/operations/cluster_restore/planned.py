"""A plan that was made, as those have it who execute it."""

from dataclasses import replace
from typing import Any

from drtool.operations.plan import Made, PlanResult
from drtool.recovery.plan import Plan
from drtool.recovery.steps import label
from drtool.recovery.wishes import Wishes
from drtool.sources.base import Json
from tests.recovery.stage import changes_of, facts, made, policy


def plan_of(*objects: Json, wishes: Wishes | None = None, postgres: int = 15, rdb: int = 10) -> Made:
    """Return what a plan for objects is made of, as operations have it."""
    wished = wishes or Wishes(image="drtool:1")
    plan = made(objects, wished)
    volumes = tuple(
        replace(each, version={"postgres": postgres, "redis": rdb}.get(each.volume)) for each in plan.volumes
    )
    prepared = changes_of(objects, wished, facts(), ())[0].objects
    result = result_of(replace(plan, volumes=volumes))
    return Made(result, policy(), {label(each.ref): each for each in prepared})


def result_of(plan: Plan | None) -> PlanResult:
    nothing: dict[str, Any] = {"missed": (), "refusals": (), "changes": (), "left_out": {}, "notes": ()}
    found = plan or made()
    return PlanResult(
        policy="shop",
        target=found.target,
        namespace="shop",
        volumes=found.volumes,
        skew=found.skew,
        plan=plan,
        **nothing,
    )
