import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drtool.errors import Refused, SourceUnavailable, TemporaryFailure
from drtool.sources.base import Artifact, Captured, Json, Reference
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.manifests import ManifestsSource
from drtool.sources.kubernetes.manifests_notes import manifests_notes, webhook_notes
from drtool.sources.kubernetes.objects import content_of
from drtool.sources.kubernetes.selection import Filter
from tests.sources.kubernetes.api import Api
from tests.sources.kubernetes.conftest import OpenCluster
from tests.sources.kubernetes.shop import HOOKS, RBAC, REVIEWS, at, hooks, item, owned, shop

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
APPLICATION = {
    "core/ConfigMap/settings.json",
    "core/Endpoints/by-hand.json",
    "core/Namespace/shop.json",
    "core/PersistentVolumeClaim/media.json",
    "core/Secret/password.json",
    "core/Service/by-hand.json",
    "core/Service/web.json",
    "core/ServiceAccount/default.json",
    "apps/Deployment/web.json",
    "networking.k8s.io/Ingress/web.json",
    f"{RBAC}/Role/reader.json",
    f"{RBAC}/RoleBinding/reader.json",
    "example.com/Widget/gear.json",
}
NEEDED = {
    "core/PersistentVolume/pv-1.json",
    "storage.k8s.io/StorageClass/fast.json",
    "networking.k8s.io/IngressClass/traefik.json",
    "scheduling.k8s.io/PriorityClass/urgent.json",
    "apiextensions.k8s.io/CustomResourceDefinition/widgets.example.com.json",
    f"{RBAC}/ClusterRoleBinding/ours.json",
    f"{RBAC}/ClusterRole/watcher.json",
    f"{RBAC}/ClusterRole/nodes.json",
    f"{HOOKS}/MutatingWebhookConfiguration/defaults.json",
    f"{HOOKS}/ValidatingWebhookConfiguration/gate.json",
}
CHANGING = at("mutatingwebhookconfigurations", HOOKS, namespaced=False)
REFUSING = at("validatingwebhookconfigurations", HOOKS, namespaced=False)
COLLECTIONS = {
    "core/PersistentVolume": "/api/v1/persistentvolumes/pv-1",
    "storage.k8s.io/StorageClass": "/apis/storage.k8s.io/v1/storageclasses/fast",
    "networking.k8s.io/IngressClass": "/apis/networking.k8s.io/v1/ingressclasses/traefik",
    "scheduling.k8s.io/PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses/urgent",
    "apiextensions.k8s.io/CustomResourceDefinition": (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
    ),
    f"{RBAC}/ClusterRoleBinding": f"/apis/{RBAC}/v1/clusterrolebindings",
    f"{RBAC}/ClusterRole": f"/apis/{RBAC}/v1/clusterroles/watcher",
    f"{HOOKS}/MutatingWebhookConfiguration": CHANGING,
    f"{HOOKS}/ValidatingWebhookConfiguration": REFUSING,
    "core/Namespace": "/api/v1/namespaces/shop",
}


@dataclass
class Memory:
    """What a previous point knew: stat records by path."""

    stats: dict[str, bytes | None] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def unchanged(self, path: str, entry: Json, stat: bytes) -> Reference | None:
        return Reference(path, entry, stat) if self.stats.get(path) == stat else None


@dataclass
class Run:
    """One capture: what it yielded by path, and what it told."""

    artifacts: dict[str, Artifact]
    references: set[str]
    told: Captured

    @property
    def paths(self) -> set[str]:
        return {*self.artifacts, *self.references}

    def object(self, path: str) -> Json:
        found: Json = json.loads(content_of(path, b"".join(self.artifacts[path].stream)))
        return found

    @property
    def notes(self) -> str:
        return "\n".join(manifests_notes(self.told.facts))


@pytest.fixture
def api() -> Iterator[Api]:
    with shop() as serving:
        serving.collections[CHANGING] = [hooks("defaults", "shop")]
        serving.collections[REFUSING] = [hooks("gate", "other", "shop"), hooks("certificates", "other")]
        yield serving


@pytest.fixture
def cluster(api: Api, tmp_path: Path, open_cluster: OpenCluster) -> Cluster:
    return open_cluster(None, {"KUBECONFIG": str(api.kubeconfig(tmp_path))}, patience_s=2)


def capture(cluster: Cluster, previous: Memory | None = None, **chosen: tuple[str, ...]) -> Run:
    artifacts, references = {}, set()
    with ManifestsSource(cluster, "shop", Filter(**chosen), lambda: NOW).capture(previous) as capturing:
        for each in capturing:
            if isinstance(each, Artifact):
                assert each.path not in artifacts
                artifacts[each.path] = each
            else:
                references.add(each.path)
        return Run(artifacts, references, capturing.result())


def test_an_application_comes_whole_with_what_it_needs_and_without_what_is_made_of_it(
    cluster: Cluster,
) -> None:
    run = capture(cluster)

    assert run.paths == APPLICATION | NEEDED
    assert run.told.begin == run.told.end == NOW
    assert run.told.facts["not_captured"] == {}
    assert run.told.facts["server_version"] == "v1.34.4"
    assert run.told.facts["counts"]["core/Service"] == 2
    assert run.told.facts["versions"]["core/Service"] == "7"
    assert run.told.facts["left_out"] == {"made by its owner": 3, "published by the cluster": 1}
    assert run.notes == ""


def test_a_capture_leaves_no_connection_behind(api: Api, cluster: Cluster) -> None:
    capture(cluster)

    assert api.is_left(5)


def test_an_object_is_kept_as_it_is_but_for_who_set_which_field(cluster: Cluster) -> None:
    run = capture(cluster)

    secret = run.object("core/Secret/password.json")
    assert secret["data"] == {"password": "c2VjcmV0"}
    assert secret["kind"] == "Secret"
    assert secret["apiVersion"] == "v1"
    assert secret["metadata"]["uid"] == "uid-password"
    assert "managedFields" not in secret["metadata"]
    assert "managedFields" in run.object("core/Service/web.json")["metadata"]


@pytest.mark.parametrize(("kind", "path"), COLLECTIONS.items())
def test_what_may_not_be_read_of_the_cluster_is_noted_and_the_rest_captured(
    api: Api, cluster: Cluster, kind: str, path: str
) -> None:
    api.forbidden.add(path)

    run = capture(cluster)

    assert run.told.facts["not_captured"] == {kind: "may not be read"}
    assert run.notes == f"not captured, for it may not be read: {kind}"
    assert {each for each in APPLICATION if not each.startswith(f"{kind}/")} <= run.paths
    assert not any(each.startswith(f"{kind}/") for each in run.paths)


def test_a_user_of_the_namespace_alone_captures_it_and_is_told_what_is_missing(
    api: Api, cluster: Cluster
) -> None:
    api.forbidden |= {*COLLECTIONS.values(), at("secrets"), REVIEWS}
    api.collections[at("pods")] = []

    run = capture(cluster)

    left = {"core/Namespace/shop.json", "core/Secret/password.json"}
    assert run.paths == APPLICATION - left | {
        "apps/ReplicaSet/web-1.json"
    }  # whether owners are read is not told
    assert set(run.told.facts["not_captured"]) == {*COLLECTIONS, "core/Secret"}


def test_webhooks_of_others_are_told_to_who_restores_and_not_by_each_backup(
    api: Api, cluster: Cluster
) -> None:
    run = capture(cluster)

    assert list(webhook_notes(run.told.facts)) == [
        "webhooks of others in the captured cluster do not come back: ValidatingWebhookConfiguration certificates"
    ]
    assert run.notes == ""
    api.collections[REFUSING] = []
    assert list(webhook_notes(capture(cluster).told.facts)) == []
    assert list(webhook_notes({})) == []  # of a point that was made before these were looked at


def test_each_kind_that_is_forbidden_is_asked_for_once(api: Api, cluster: Cluster) -> None:
    api.collections[at("persistentvolumeclaims")].append(item("logs", spec={"volumeName": "pv-2"}))
    api.forbidden |= {"/api/v1/persistentvolumes/pv-1", "/api/v1/persistentvolumes/pv-2"}

    capture(cluster)

    assert len([asked for asked in api.asked if "persistentvolumes" in asked]) == 1


def test_nothing_that_may_be_read_is_a_failure(api: Api, cluster: Cluster) -> None:
    api.forbidden |= {path for path in api.collections if "/namespaces/shop/" in path}

    with pytest.raises(SourceUnavailable, match="nothing in namespace shop may be read"):
        capture(cluster)


def test_a_namespace_that_is_not_there_is_a_failure(api: Api, cluster: Cluster) -> None:
    api.collections["/api/v1/namespaces"] = []
    with pytest.raises(SourceUnavailable, match="there is no namespace shop"):
        capture(cluster)

    api.forbidden.add("/api/v1/namespaces/shop")
    api.collections = {path: [] for path in api.collections}
    with pytest.raises(SourceUnavailable, match="nothing was found in namespace shop"):
        capture(cluster)


def test_another_namespace_of_the_same_name_is_refused_before_an_object_is_read(
    api: Api, cluster: Cluster
) -> None:
    before = Memory(facts=capture(cluster).told.facts)
    assert "uid" not in capture(cluster, before).notes
    api.collections["/api/v1/namespaces"][0]["metadata"]["uid"] = "other"
    api.asked.clear()

    with pytest.raises(
        Refused, match="has the uid other, and that of the point before had uid-shop"
    ) as refused:
        capture(cluster, before)
    assert "DRTOOL_NAMESPACE_UID=other" in refused.value.hint
    assert not [each for each in api.asked if "/namespaces/shop/" in each]


@pytest.mark.parametrize("accepted", ["other", None])
def test_another_namespace_is_taken_and_noted_in_a_pod_or_where_it_is_named(
    api: Api, cluster: Cluster, accepted: str | None
) -> None:
    api.collections["/api/v1/namespaces"][0]["metadata"]["uid"] = "other"
    before = Memory(facts={"namespace_uid": "uid-shop"})
    source = ManifestsSource(cluster, "shop", Filter(), lambda: NOW, accepted)

    with source.capture(before) as capturing:
        assert len(list(capturing)) == len(APPLICATION | NEEDED)
        facts = capturing.result().facts

    assert facts["namespace_uid"] == "other"
    said = "the namespace is another than that of the point before: its uid is other, not uid-shop"
    assert list(manifests_notes(facts)) == [said]


def test_a_namespace_whose_uid_may_not_be_read_is_held_to_the_last_that_was(
    api: Api, cluster: Cluster
) -> None:
    first = capture(cluster).told.facts
    api.forbidden.add("/api/v1/namespaces/shop")

    second = capture(cluster, Memory(facts=first)).told.facts

    assert first["namespace_uid"] == second["namespace_uid"] == "uid-shop"
    assert "namespace_uid" not in capture(cluster).told.facts


def test_a_namespace_without_what_the_policy_takes_is_captured_as_such_once_it_is_seen(
    api: Api, cluster: Cluster
) -> None:
    api.collections[at("ingresses", "networking.k8s.io")] = []
    ingresses = ("networking.k8s.io/Ingress",)
    assert capture(cluster, include=ingresses).paths == set()

    api.forbidden.add(at("secrets"))
    part = capture(cluster, include=(*ingresses, "Secret"))
    assert (part.paths, part.notes) == (set(), "not captured, for it may not be read: core/Secret")

    api.forbidden.add("/api/v1/namespaces/shop")
    with pytest.raises(SourceUnavailable, match="nothing was found in namespace shop"):
        capture(cluster, include=ingresses)


def test_a_namespace_that_is_seen_has_a_service_account_at_least(api: Api, cluster: Cluster) -> None:
    api.collections |= {path: [] for path in api.collections if "/namespaces/shop/" in path}
    with pytest.raises(SourceUnavailable, match="nothing was found in namespace shop"):
        capture(cluster)
    with pytest.raises(SourceUnavailable, match="nothing was found in namespace shop"):
        capture(cluster, include=("gadgets.example/*",))


def test_what_is_unchanged_is_referred_to_and_what_changed_is_not(api: Api, cluster: Cluster) -> None:
    first = capture(cluster)
    known = Memory({path: each.stat for path, each in first.artifacts.items()})

    assert capture(cluster, known).artifacts == {}
    api.collections[at("secrets")][0]["metadata"]["resourceVersion"] = "2"
    api.collections[at("configmaps")][0]["metadata"]["uid"] = "made anew"
    second = capture(cluster, known)

    assert set(second.artifacts) == {"core/Secret/password.json", "core/ConfigMap/settings.json"}
    assert second.references == first.paths - set(second.artifacts)


def test_an_object_whose_version_the_server_does_not_tell_is_always_read(api: Api, cluster: Cluster) -> None:
    del api.collections[at("secrets")][0]["metadata"]["resourceVersion"]

    run = capture(cluster, Memory({"core/Secret/password.json": None}))

    assert run.artifacts["core/Secret/password.json"].stat is None


def test_include_and_exclude_choose_kinds_and_those_that_name_nothing_are_told(cluster: Cluster) -> None:
    only = capture(cluster, include=("Secret", "apps/*"))
    assert only.paths == {"core/Secret/password.json", "apps/Deployment/web.json"}

    run = capture(cluster, exclude=("Secret", "ClusterRole*", "Gadget"))
    assert "core/Secret/password.json" not in run.paths
    assert run.paths == {
        each for each in APPLICATION | NEEDED if "Secret" not in each and "/ClusterRole" not in each
    }
    assert run.notes == "Gadget of include or exclude names no kind of this cluster"
    assert "core/Namespace/shop.json" not in capture(cluster, exclude=("core/Namespace",)).paths


def test_an_owner_that_is_not_read_leaves_what_it_made(api: Api, cluster: Cluster) -> None:
    api.collections[at("pods")].append(item("odd", metadata=owned("Robot", "r", "robots.example/v1")))
    api.answers[REVIEWS] = {"status": {"allowed": False}}

    paths = capture(cluster).paths

    assert {"core/Pod/odd.json", "core/Pod/web-1.json", "apps/ReplicaSet/web-1.json"} <= paths


def test_an_owner_outside_of_the_namespace_is_not_captured_and_leaves_what_it_made(
    api: Api, cluster: Cluster
) -> None:
    made_by_cluster = owned("PriorityClass", "urgent", "scheduling.k8s.io/v1")
    api.collections[at("deployments", "apps")].append(item("agent", metadata=made_by_cluster))

    assert "apps/Deployment/agent.json" in capture(cluster).paths


def test_a_kind_that_vanishes_is_noted(api: Api, cluster: Cluster) -> None:
    del api.collections[at("widgets", "example.com")]

    run = capture(cluster)

    assert run.notes == "not captured, for it is not served any more: example.com/Widget"
    assert "apiextensions.k8s.io/CustomResourceDefinition/widgets.example.com.json" not in run.paths


def test_a_group_whose_own_server_is_away_is_noted(api: Api, cluster: Cluster) -> None:
    api.away.add("/apis/example.com/v1")

    run = capture(cluster)

    assert run.notes == "not captured, for it is not served now: example.com/*"
    assert "core/Secret/password.json" in run.paths


def test_a_group_that_is_never_captured_or_not_asked_for_may_be_away(api: Api, cluster: Cluster) -> None:
    version = {"version": "v1"}
    api.answers["/apis"]["groups"].append(
        {"name": "metrics.k8s.io", "preferredVersion": version, "versions": [version]}
    )
    api.away |= {"/apis/metrics.k8s.io/v1", "/apis/example.com/v1"}

    assert capture(cluster, exclude=("example.com/*",)).notes == ""


def test_a_group_that_every_cluster_has_is_waited_for_and_then_a_failure(api: Api, cluster: Cluster) -> None:
    api.away.add("/apis/apps/v1")

    with pytest.raises(TemporaryFailure):
        capture(cluster)


def test_an_outage_in_the_middle_ends_the_capture(api: Api, cluster: Cluster) -> None:
    capturing = ManifestsSource(cluster, "shop", Filter(), lambda: NOW).capture(None)
    first = next(iter(capturing))
    assert first.path == "core/Namespace/shop.json"
    api.away.add(at("secrets"))

    with pytest.raises(TemporaryFailure, match="currently unable"):
        list(capturing)
    with pytest.raises(SourceUnavailable, match="not read to its end"):
        capturing.result()


def test_what_a_claim_names_and_is_not_there_is_no_fault(api: Api, cluster: Cluster) -> None:
    api.collections["/api/v1/persistentvolumes"] = []

    run = capture(cluster)

    assert run.paths == APPLICATION | NEEDED - {"core/PersistentVolume/pv-1.json"}
    assert run.notes == ""
