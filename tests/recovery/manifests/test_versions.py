"""APIs that the target does not serve any more: converted where nothing changes, refused by name where it would."""

from typing import Any

import pytest

from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.prepare import Preparation, prepare
from tests.recovery.captured import SERVED, captured

HPA = {
    "minReplicas": 2,
    "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}],
}
SELECTOR = {"selector": {"matchLabels": {"app": "x"}}}


def ready(api_version: str, kind: str, **content: Any) -> Preparation:
    return prepare([captured(api_version, kind, "x", **content)], Mappings(("shop", "shop")), SERVED)


@pytest.mark.parametrize(
    ("old", "kind", "new", "content"),
    [
        pytest.param(
            "autoscaling/v2beta2", "HorizontalPodAutoscaler", "autoscaling/v2", {"spec": HPA}, id="41-hpa"
        ),
        pytest.param("batch/v1beta1", "CronJob", "batch/v1", {"spec": {}}, id="41-cron-job"),
        pytest.param("policy/v1beta1", "PodDisruptionBudget", "policy/v1", {"spec": SELECTOR}, id="41-pdb"),
        pytest.param("extensions/v1beta1", "DaemonSet", "apps/v1", {"spec": SELECTOR}, id="41-daemon-set"),
        pytest.param(
            "rbac.authorization.k8s.io/v1beta1", "Role", "rbac.authorization.k8s.io/v1", {}, id="41-role"
        ),
    ],
)
def test_what_only_changed_its_version_is_converted(
    old: str, kind: str, new: str, content: dict[str, Any]
) -> None:
    found = ready(old, kind, **content)

    assert found.objects[0].item == {**found.objects[0].item, "apiVersion": new, **content}
    assert found.notes[-1] == f"{kind} x: {old} becomes {new}"


@pytest.mark.parametrize(
    ("old", "kind", "why", "content"),
    [
        pytest.param("extensions/v1beta1", "Ingress", "the target serves no such kind", {}, id="41-ingress"),
        pytest.param("networking.k8s.io/v1beta1", "Ingress", "v1 only, of another shape", {}, id="41-ingress-2"),
        pytest.param("autoscaling/v2beta1", "HorizontalPodAutoscaler", "v2, v1 only", {}, id="41-hpa"),
        pytest.param("policy/v1beta1", "PodDisruptionBudget", "something else in policy/v1",
                     {"spec": {"selector": {}}}, id="41-pdb-of-nothing"),
        pytest.param("policy/v1beta1", "PodSecurityPolicy", "no such kind", {}, id="41-psp"),
        pytest.param("admissionregistration.k8s.io/v1beta1", "ValidatingWebhookConfiguration", "something else",
                     {"webhooks": [{"name": "x"}]}, id="41-webhook"),
        pytest.param("storage.k8s.io/v1beta1", "StorageClass", "something else", {}, id="41-class"),
        pytest.param("example.com/v1", "Widget", "no such kind", {}, id="37-no-definition"),
    ],
)  # fmt: skip
def test_what_changed_its_shape_is_refused_by_name(
    old: str, kind: str, why: str, content: dict[str, Any]
) -> None:
    [refusal] = ready(old, kind, **content).refusals

    assert refusal.about == f"{kind} x"
    assert why in refusal.message


def test_37_a_definition_of_the_point_serves_its_kind() -> None:
    definition = captured("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", spec={
        "group": "example.com", "names": {"kind": "Widget"},
        "versions": [{"name": "v1", "served": True}, {"name": "v0", "served": False}]})  # fmt: skip
    objects = [
        definition,
        *(captured(f"example.com/{version}", "Widget", version) for version in ("v1", "v0")),
    ]
    found = prepare(objects, Mappings(("shop", "shop")), SERVED)

    assert [str(each.ref) for each in found.objects] == [
        "CustomResourceDefinition widgets.example.com",
        "Widget v1",
    ]
    assert [refusal.about for refusal in found.refusals] == ["Widget v0"]
