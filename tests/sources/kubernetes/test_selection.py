from typing import Any

import pytest

from drtool.policy.kinds import group_of
from drtool.sources.kubernetes.resource import Resource
from drtool.sources.kubernetes.selection import (
    Around,
    Filter,
    is_captured,
    is_group_captured,
    why_left_out,
)
from tests.sources.kubernetes.shop import item, owned

READ = {("apps", "Deployment"), ("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("batch", "CronJob")}
AROUND = Around(lambda group, kind: (group, kind) in READ, {"web"})
MADE = "made by its owner"
TOKEN = "kubernetes.io/service-account-token"


def kind(api_version: str, name: str, labels: Any = None, annotations: Any = None, **content: Any) -> Any:
    """Return an object: kind("apps/v1 Deployment", …)."""
    version, _, what = api_version.partition(" ")
    metadata = {"labels": labels, "annotations": annotations, **content.pop("metadata", {})}
    return {"apiVersion": version, "kind": what, **item(name, metadata=metadata, **content)}


def ended(what: str) -> Any:
    return {"conditions": [{"type": "Suspended", "status": "False"}, {"type": what, "status": "True"}]}


LEFT_OUT = [
    (kind("batch/v1 CronJob", "backup", {"app.kubernetes.io/part-of": "drtool"}), "drtool's own"),
    (kind("v1 ConfigMap", "drtool-policy", {"app.kubernetes.io/part-of": "drtool"}), "drtool's own"),
    (kind("apps/v1 ReplicaSet", "web-1", metadata=owned("Deployment", "web")), MADE),
    (kind("v1 Pod", "web-1-x", metadata=owned("ReplicaSet", "web-1")), MADE),
    (kind("apps/v1 ControllerRevision", "db-1", metadata=owned("StatefulSet", "db")), MADE),
    (kind("batch/v1 Job", "nightly-1", metadata=owned("CronJob", "nightly", "batch/v1")), MADE),
    (kind("v1 Pod", "etcd", annotations={"kubernetes.io/config.mirror": "x"}), "run by a node itself"),
    (kind("v1 Pod", "once", status={"phase": "Succeeded"}), "ended"),
    (kind("v1 Pod", "once", status={"phase": "Failed"}), "ended"),
    (kind("batch/v1 Job", "migrate", status=ended("Complete")), "ended"),
    (kind("batch/v1 Job", "migrate", status=ended("Failed")), "ended"),
    (kind("v1 Endpoints", "web"), MADE),
    (kind("v1 Endpoints", "x", None, {"endpoints.kubernetes.io/last-change-trigger-time": "t"}), MADE),
    (kind("v1 Endpoints", "lock", None, {"control-plane.alpha.kubernetes.io/leader": "x"}), "a lock"),
    (kind("discovery.k8s.io/v1 EndpointSlice", "web-x", {"kubernetes.io/service-name": "web"}), MADE),
    (
        kind(
            "v1 Secret",
            "default-token-x7z2b",
            None,
            {"kubernetes.io/service-account.name": "default"},
            type=TOKEN,
        ),
        "a token of the cluster",
    ),
    (kind("v1 Secret", "bootstrap-token-x", type="bootstrap.kubernetes.io/token"), "a token of the cluster"),
    (kind("v1 Secret", "node-1.node-password.k3s", type="Opaque"), "of a node"),
    (kind("v1 Secret", "k3s-serving", type="kubernetes.io/tls"), "of a node"),
    (kind("v1 ConfigMap", "kube-root-ca.crt"), "published by the cluster"),
    (kind("v1 ConfigMap", "istio-ca-root-cert"), "published by the cluster"),
    (
        kind(
            "rbac.authorization.k8s.io/v1 ClusterRole",
            "edit",
            {"kubernetes.io/bootstrapping": "rbac-defaults"},
        ),
        "a default of the cluster",
    ),
]
KEPT = [
    kind("v1 Pod", "by-hand", status={"phase": "Running"}),
    kind("v1 Pod", "robot", metadata=owned("Robot", "r", "robots.example/v1")),
    kind(
        "apps/v1 ReplicaSet",
        "web",
        metadata={"ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "x"}]},
    ),
    kind("batch/v1 Job", "running"),
    kind("batch/v1 Job", "stopped", status={"conditions": [{"type": "Complete", "status": "False"}]}),
    kind("batch.volcano.sh/v1 Job", "other", status=ended("Complete")),
    kind("v1 Endpoints", "by-hand"),
    kind("discovery.k8s.io/v1 EndpointSlice", "by-hand-1", {"kubernetes.io/service-name": "by-hand"}),
    kind("v1 Secret", "scraper", None, {"kubernetes.io/service-account.name": "default"}, type=TOKEN),
    kind("v1 Secret", "sh.helm.release.v1.web.v1", type="helm.sh/release.v1"),
    kind("v1 Secret", "db-app", type="Opaque", metadata=owned("StatefulSet", "db")),
    kind("v1 PersistentVolumeClaim", "data-db-0", metadata=owned("StatefulSet", "db")),
    kind("v1 ConfigMap", "settings", {"app.kubernetes.io/part-of": "shop"}),
    kind("v1 ServiceAccount", "default"),
]


@pytest.mark.parametrize(("found", "why"), LEFT_OUT)
def test_what_comes_back_by_itself_is_left_out(found: Any, why: str) -> None:
    assert why_left_out(found, AROUND) == why


@pytest.mark.parametrize("found", KEPT)
def test_what_nobody_would_make_again_is_kept(found: Any) -> None:
    assert why_left_out(found, AROUND) is None


@pytest.mark.parametrize(
    ("group", "name", "is_kept"),
    [
        ("", "Secret", True),
        ("apps", "Deployment", True),
        ("cert-manager.io", "Certificate", True),
        ("", "Event", False),
        ("events.k8s.io", "Event", False),
        ("coordination.k8s.io", "Lease", False),
        ("storage.k8s.io", "CSIStorageCapacity", False),
        ("metrics.k8s.io", "PodMetrics", False),
        ("k3s.cattle.io", "Addon", False),
        ("acme.cert-manager.io", "Order", False),
        ("cert-manager.io", "CertificateRequest", False),
        ("longhorn.io", "Volume", False),
        ("snapshot.storage.k8s.io", "VolumeSnapshot", False),
        ("", "PodTemplate", False),
    ],
)
def test_kinds_that_no_backup_should_hold_are_not_listed(group: str, name: str, *, is_kept: bool) -> None:
    assert (
        is_captured(Resource(group, "v1", "x", name, namespaced=True, verbs=frozenset({"list"}))) == is_kept
    )


def test_a_group_counts_unless_all_of_it_is_left_out() -> None:
    assert is_group_captured("cert-manager.io")  # but for its CertificateRequests
    assert not is_group_captured("external.metrics.k8s.io")


def test_what_cannot_be_listed_or_lies_in_no_namespace_is_not_listed() -> None:
    assert not is_captured(Resource("", "v1", "x", "Secret", namespaced=True, verbs=frozenset({"create"})))
    assert not is_captured(Resource("", "v1", "x", "Secret", namespaced=False, verbs=frozenset({"list"})))


def test_a_filter_takes_what_is_included_and_not_excluded() -> None:
    chosen = Filter(("apps/*", "Secret"), ("ReplicaSet",))

    assert Filter().takes("any", "Kind")
    assert chosen.takes("apps", "Deployment")
    assert chosen.takes("", "Secret")
    assert not chosen.takes("apps", "ReplicaSet")
    assert not chosen.takes("", "ConfigMap")
    assert chosen.idle([("apps", "Deployment"), ("", "Secret")]) == ["ReplicaSet"]


def test_the_group_of_the_core_is_empty() -> None:
    assert (group_of("v1"), group_of("apps/v1")) == ("", "apps")
