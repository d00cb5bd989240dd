from typing import Any

import pytest

from drtool.sources.kubernetes.needs import Need, binds, calls, definition_of, needs_of
from drtool.sources.kubernetes.resource import Resource
from tests.sources.kubernetes.shop import RBAC, hooks
from tests.sources.kubernetes.test_selection import kind

POD: dict[str, Any] = {"template": {"spec": {"priorityClassName": "urgent"}}}
URGENT = Need("scheduling.k8s.io", "PriorityClass", "urgent")
FAST = Need("storage.k8s.io", "StorageClass", "fast")
CLAIM = {"volumeName": "pv-1", "storageClassName": "fast"}


def role(what: str, name: str) -> dict[str, str]:
    return {"kind": what, "name": name}


@pytest.mark.parametrize(
    ("found", "needs"),
    [
        (kind("v1 PersistentVolumeClaim", "x", spec=CLAIM), [Need("", "PersistentVolume", "pv-1"), FAST]),
        (kind("v1 PersistentVolumeClaim", "x", spec={"storageClassName": ""}), []),
        (kind("v1 PersistentVolume", "x", spec={"storageClassName": "fast"}), [FAST]),
        (kind("apps/v1 Deployment", "x", spec=POD), [URGENT]),
        (
            kind("apps/v1 StatefulSet", "x", spec={**POD, "volumeClaimTemplates": [{"spec": CLAIM}]}),
            [URGENT, FAST],
        ),
        (kind("batch/v1 Job", "x", spec=POD), [URGENT]),
        (kind("batch/v1 CronJob", "x", spec={"jobTemplate": {"spec": POD}}), [URGENT]),
        (kind("v1 ReplicationController", "x", spec={"template": None}), []),
        (kind("v1 Pod", "x", spec={"priorityClassName": "urgent"}), [URGENT]),
        (kind("v1 Pod", "x", spec={"priorityClassName": "system-node-critical"}), []),
        (kind("v1 Pod", "x", spec={}), []),
        (kind("v1 ConfigMap", "x", data={"template": "text"}), []),
        (
            kind("networking.k8s.io/v1 Ingress", "x", spec={"ingressClassName": "traefik"}),
            [Need("networking.k8s.io", "IngressClass", "traefik")],
        ),
        (
            kind(f"{RBAC}/v1 RoleBinding", "x", roleRef=role("ClusterRole", "watcher")),
            [Need(RBAC, "ClusterRole", "watcher")],
        ),
        (kind(f"{RBAC}/v1 RoleBinding", "x", roleRef=role("Role", "reader")), []),
        (kind(f"{RBAC}/v1 RoleBinding", "x", roleRef=role("ClusterRole", "edit")), []),
        (kind(f"{RBAC}/v1 ClusterRoleBinding", "x", roleRef=role("ClusterRole", "system:node")), []),
        (kind("example.com/v1 Widget", "x", spec=["no", "mapping"]), []),
        (kind("example.com/v1 Pod", "x", spec="text"), []),
    ],
)
def test_an_object_needs_what_it_refers_to_by_name(found: Any, needs: list[Need]) -> None:
    assert list(needs_of(found)) == needs


@pytest.mark.parametrize(
    ("subjects", "is_bound"),
    [
        ([{"kind": "ServiceAccount", "name": "a", "namespace": "shop"}], True),
        ([{"kind": "Group", "name": "system:serviceaccounts:shop"}], True),
        ([{"kind": "Group", "name": "system:serviceaccounts"}], False),
        (
            [{"kind": "ServiceAccount", "name": "a", "namespace": "other"}, {"kind": "User", "name": "b"}],
            False,
        ),
        (None, False),
    ],
)
def test_a_binding_is_ours_when_it_names_an_account_of_the_namespace(
    subjects: Any, *, is_bound: bool
) -> None:
    assert binds({"subjects": subjects}, "shop") == is_bound


def test_kinds_that_not_every_cluster_has_come_from_a_definition() -> None:
    widgets = Resource("example.com", "v1", "widgets", "Widget", namespaced=True)

    assert definition_of(widgets) == Need(
        "apiextensions.k8s.io", "CustomResourceDefinition", "widgets.example.com"
    )
    assert definition_of(Resource("apps", "v1", "deployments", "Deployment", namespaced=True)) is None
    assert definition_of(Resource("", "v1", "pods", "Pod", namespaced=True)) is None


@pytest.mark.parametrize(
    ("configuration", "is_asked"),
    [
        (hooks("x", "shop"), True),
        (hooks("x", "other", "shop"), True),
        (hooks("x", "other"), False),
        (hooks("x"), False),
        ({"webhooks": [{"name": "x", "clientConfig": {"url": "https://shop.example"}}]}, False),
        ({}, False),
    ],
)
def test_a_webhook_is_ours_when_it_asks_a_service_of_the_namespace(
    configuration: Any, *, is_asked: bool
) -> None:
    assert calls(configuration, "shop") == is_asked
