"""What a pod's status and Events mean: the rare ones, that a real cluster shows only under duress."""

from typing import Any

import pytest

from drtool.sources.kubernetes.pod_faults import pod_fault

Json = dict[str, Any]


def pod(phase: str, **status: Any) -> Json:
    return {"metadata": {"name": "p"}, "status": {"phase": phase, **status}}


def waiting(reason: str, message: str = "") -> Json:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (pod("Failed", reason="Evicted", message="The node was low on\nresource"), "low on resource"),
        (
            pod("Running", containerStatuses=[{"state": {"terminated": {"reason": "OOMKilled"}}}]),
            "more memory",
        ),
        (pod("Pending", initContainerStatuses=[waiting("ErrImageNeverPull")]), "not on the node"),
        (pod("Pending", containerStatuses=[waiting("InvalidImageName", "no name")]), "no name"),
    ],
)
def test_a_fault_is_said_with_a_hint(status: Json, said: str) -> None:
    fault = pod_fault(status, [])
    assert fault is not None
    assert said in fault.message
    assert fault.hint


@pytest.mark.parametrize(
    "status",
    [
        pod("Succeeded", containerStatuses=[waiting("ErrImagePull")]),
        pod("Pending", containerStatuses=[waiting("ContainerCreating")]),
        pod("Running", conditions=[{"type": "PodScheduled", "status": "True"}]),
        {"metadata": {"name": "p"}},
    ],
)
def test_what_works_or_may_yet_is_no_fault(status: Json) -> None:
    assert pod_fault(status, [{"reason": "Pulled"}]) is None


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Multi-Attach error for volume", "beside the application's"),
        ('secret "s" not found', "claim or Secret"),
    ],
)
def test_a_volume_that_does_not_come_is_told_by_the_last_event(message: str, hint: str) -> None:
    events = [
        {"reason": "FailedMount", "message": "old"},
        {"reason": "FailedAttachVolume", "message": message},
    ]
    fault = pod_fault(pod("Pending"), events)
    assert fault is not None
    assert message in fault.message
    assert hint in fault.hint
