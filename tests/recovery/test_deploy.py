"""The team's own deployment in the place of the captured manifests."""

from typing import Any

import pytest

from drtool.policy.load import parse_policy
from drtool.recovery.deploy import deployed, differing, kustomized
from drtool.recovery.manifests.objects import ref_of
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import captured, claim, workload
from tests.recovery.stage import POLICY, made, policy, refused

SECRET = captured("v1", "Secret", "password", data={"password": "b2xk"})
CAPTURED = [
    captured("v1", "Namespace", "shop"),
    SECRET,
    captured("v1", "ConfigMap", "settings", data={"a": "old"}),
    captured("v1", "ConfigMap", "by-hand"),
    captured("v1", "Service", "web", spec={}),
    workload("Deployment", "web"),
    workload("Deployment", "old"),
    captured("networking.k8s.io/v1", "Ingress", "web", spec={}),
    claim("media"),
]
KUSTOMIZE = "recovery: {deploy: {kustomize: deploy}}"


def named(objects: list[Any]) -> list[str]:
    return [f"{each['kind']}/{each['metadata']['name']}" for each in objects]


def test_what_runs_is_the_deployments_and_what_it_takes_is_the_captures() -> None:
    rendered = [
        captured("v1", "Secret", "password", data={"password": "bmV3"}),
        captured("v1", "Secret", "more", data={}),
        captured("v1", "ConfigMap", "settings", data={"a": "new"}),
        captured("v1", "PersistentVolumeClaim", "media", spec={}),
        workload("Deployment", "web", 3),
    ]
    found = deployed(CAPTURED, rendered)

    kept = ["Namespace/shop", "Secret/password", "ConfigMap/by-hand", "PersistentVolumeClaim/media"]
    assert named(found) == [*kept, "Secret/more", "ConfigMap/settings", "Deployment/web"]
    assert len({ref_of(each) for each in found}) == len(found)
    by_name = dict(zip(named(found), found, strict=True))
    assert by_name["Secret/password"] is SECRET
    assert by_name["ConfigMap/settings"]["data"] == {"a": "new"}
    assert by_name["Deployment/web"]["spec"]["replicas"] == 3
    assert by_name["PersistentVolumeClaim/media"] is CAPTURED[-1]


def test_what_is_rendered_of_a_group_that_its_kind_has_left_takes_the_place_of_what_was_captured() -> None:
    old = captured("extensions/v1beta1", "NetworkPolicy", "web", spec={"podSelector": {}})
    other = captured("networking.k8s.io/v1", "NetworkPolicy", "other", spec={})
    new = captured("networking.k8s.io/v1", "NetworkPolicy", "web", spec={})
    assert deployed([new, other], [old]) == [other, old]


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"spec": {"replicas": 2}}, {"spec": {"replicas": 3, "x": 1}}, "spec.replicas, spec.x"),
        ({"a": [{"b": 1}, 2]}, {"a": [{"b": 2}, 2]}, "a[0].b"),
        ({"a": [1]}, {"a": [1, 2]}, "a"),
        ({"a": {"b": 1}}, {"a": 1}, "a"),
        (dict.fromkeys("abcdefg", 1), {}, "a, b, c, d, e and 2 more"),
    ],
)
def test_the_fields_that_differ_are_named(before: Any, after: Any, fields: str) -> None:
    assert differing(before, after) == fields


def test_a_deployment_is_compared_once_all_runs_and_before_a_new_writer_takes_over() -> None:
    found = made(CAPTURED, Wishes(enrol=True), of=policy(KUSTOMIZE))
    ids = [step.id for step in found.phases[-1].steps]
    assert ids.index("apply networking.k8s.io/Ingress") < ids.index("compare deployment")
    assert ids.index("compare deployment") < ids.index("enrol writer")
    for plan in (
        made([], of=policy(KUSTOMIZE)),
        made(CAPTURED),
        made(CAPTURED, AS_IT_WAS, of=policy(KUSTOMIZE)),
    ):
        assert "compare deployment" not in [step.id for step in plan.steps]


AS_IT_WAS = Wishes(as_captured=True)


def test_a_command_is_refused_unless_the_captured_manifests_are_wished_for() -> None:
    promised = policy("recovery: {deploy: {command: [make, deploy]}}")
    said = "recovery.deploy runs a command: what that starts would run before its data is there, and make its own"
    assert refused(CAPTURED, of=promised) == [said]
    assert made(CAPTURED, AS_IT_WAS, of=promised).steps
    assert made([], of=promised).steps  # volumes alone


def test_the_folder_is_the_policys_unless_the_captured_manifests_are_wished_for() -> None:
    promised = parse_policy(POLICY.format(more=KUSTOMIZE, at="before"), "shop")
    assert kustomized(promised, Wishes()) == "deploy"
    assert kustomized(promised, AS_IT_WAS) is None
    assert kustomized(policy(), Wishes()) is None
