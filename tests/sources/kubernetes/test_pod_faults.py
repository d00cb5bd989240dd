"""What a pod's status and Events mean: the rare ones, that a real cluster shows only under duress."""

from typing import Any

import pytest

from drtool.sources.kubernetes.pod_faults import pod_fault

Json = dict[str, Any]


def pod(phase: str, **status: Any) -> Json:
    return {"metadata": {"name": "p"}, "status": {"phase": phase, **status}}


def waiting(reason: str, message: str = "") -> Json:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def unscheduled(message: str) -> Json:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


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


NO_NODE = "0/2 nodes are available: "


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (
            pod("Pending", conditions=[unscheduled(f'{NO_NODE}persistentvolumeclaim "media" not found.')]),
            "waits for a claim that is not there",
            "correct `claim`",
        ),
        (
            pod(
                "Pending",
                conditions=[unscheduled(f"{NO_NODE}pod has unbound immediate PersistentVolumeClaims.")],
            ),
            "waits for a claim that is not bound",
            "describe pvc",
        ),
        (
            pod(
                "Pending", conditions=[unscheduled(f"{NO_NODE}2 node(s) had volume node affinity conflict.")]
            ),
            "fits no node that can mount its claim",
            "node of its volume",
        ),
        (
            pod("Pending", conditions=[unscheduled(f"{NO_NODE}2 Insufficient memory.")]),
            "fits no node: 0/2",
            "room and taints",
        ),
        (
            pod(
                "Failed",
                reason="Evicted",
                message='Usage of EmptyDir volume "tmp" exceeds the limit "128Mi".',
            ),
            "was evicted from its node: Usage of EmptyDir",
            "Raise the limit",
        ),
        (
            pod("Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage."),
            "was evicted from its node: The node was low",
            "Give the node more room",
        ),
    ],
)
def test_each_reason_has_words_and_a_hint_of_its_own(status: Json, said: str, hint: str) -> None:
    fault = pod_fault(status, [])
    assert fault is not None
    assert said in fault.message
    assert hint in fault.hint


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
