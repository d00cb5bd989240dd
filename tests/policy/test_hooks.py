"""Hooks as a policy writes them: one place each, and a command only where a pod is there to run it."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from drtool.policy.hooks import CommandHook, JobHook, PhasePlace, RestorePlace, StartPlace
from drtool.policy.schema import Policy
from tests.policy.conftest import MakePolicy

COMMAND = {"name": "static files", "command": ["/app/run", "collectstatic"], "workload": "web"}
JOB = {"name": "index", "job": {"image": "tools:1", "command": ["index"]}}


def test_a_hook_runs_in_a_pod_of_a_workload_or_in_one_of_its_own(make_policy: MakePolicy) -> None:
    hooks = [
        {**COMMAND, "after": {"start": "web"}, "container": "web", "time_limit": "30s", "on_failure": "note"},
        {**JOB, "before": {"restore": "redis"}},
        {**COMMAND, "name": "at the end", "after": {"phase": "testing"}},
    ]
    policy = make_policy(recovery={"hooks": hooks})

    first, second, third = policy.recovery.hooks
    assert isinstance(first, CommandHook)
    assert (first.place, first.time_limit, first.on_failure) == (
        StartPlace(start="web"),
        timedelta(seconds=30),
        "note",
    )
    assert isinstance(second, JobHook)
    assert (second.place, second.time_limit, second.on_failure) == (
        RestorePlace(restore="redis"),
        timedelta(minutes=5),
        "stop",
    )
    assert third.place == PhasePlace(phase="testing")
    assert Policy.model_validate(policy.model_dump(mode="json")) == policy
    assert make_policy(recovery=policy.recovery).recovery == policy.recovery


@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        (COMMAND, "needs exactly one of before and after"),
        ({**JOB, "before": {"start": "a"}, "after": {"start": "a"}}, "needs exactly one of before and after"),
        ({**COMMAND, "after": {"restore": "redis"}}, "runs while no workload does"),
        ({**COMMAND, "before": {"phase": "testing"}}, "runs while no workload does"),
        ({**JOB, "after": {"stop": "a"}}, "needs one of start and restore and phase"),
        ({**JOB, "after": "web"}, "needs one of start and restore and phase"),
        ({**JOB, "before": {"phase": "infrastructure"}}, "'deployment', 'data' or 'testing'"),
        ({"name": "a", "after": {"start": "a"}}, "needs one of command and job"),
        ({**JOB, "after": {"start": "a"}, "workload": "a"}, "Extra inputs are not permitted"),
        ({**COMMAND, "after": {"start": "a"}, "command": []}, "at least 1 item"),
        ({**JOB, "after": {"restore": "rdis"}}, "rdis is no volume that fits here"),
    ],
)
def test_a_hook_without_a_place_or_a_pod_is_refused(
    make_policy: MakePolicy, hook: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValidationError, match=fault):
        make_policy(recovery={"hooks": [hook]})
