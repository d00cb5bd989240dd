"""A namespace `shop` that the API server of the tests serves: what discovery tells, and some objects of each sort."""

from typing import Any

from tests.sources.kubernetes.api import Api, Json

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RBAC = "rbac.authorization.k8s.io"
CORE = {
    "ConfigMap": "configmaps",
    "Endpoints": "endpoints",
    "Event": "events",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}
CORE_CLUSTER = {"Namespace": "namespaces", "PersistentVolume": "persistentvolumes"}
GROUPS: dict[str, dict[str, str]] = {
    "apps": {"Deployment": "deployments", "ReplicaSet": "replicasets"},
    "networking.k8s.io": {"Ingress": "ingresses"},
    RBAC: {"Role": "roles", "RoleBinding": "rolebindings"},
    "example.com": {"Widget": "widgets"},
}
HOOKS = "admissionregistration.k8s.io"
GROUPS_CLUSTER: dict[str, dict[str, str]] = {
    HOOKS: {
        "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
        "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    },
    "apiextensions.k8s.io": {"CustomResourceDefinition": "customresourcedefinitions"},
    "networking.k8s.io": {"IngressClass": "ingressclasses"},
    RBAC: {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"},
    "scheduling.k8s.io": {"PriorityClass": "priorityclasses"},
    "storage.k8s.io": {"StorageClass": "storageclasses"},
}
VERBS = ["get", "list"]


def item(name: str, **content: Any) -> Json:
    """Return an object as a list holds it. Its uid is its name: unique within a kind."""
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "managedFields": [{"manager": "kubectl"}],
        **content.pop("metadata", {}),
    }
    return {"metadata": metadata, **content}


def owned(kind: str, name: str, group_version: str = "apps/v1") -> Json:
    """Return metadata that names a controller as owner."""
    return {
        "ownerReferences": [{"apiVersion": group_version, "kind": kind, "name": name, "controller": True}]
    }


def hooks(name: str, *namespaces: str, **content: Any) -> Json:
    """Return a webhook configuration that asks a Service `gate` in each of namespaces."""
    found = [
        {
            "name": f"{each}.{name}",
            "clientConfig": {"service": {"namespace": each, "name": "gate"}},
            **content,
        }
        for each in namespaces
    ]
    whole = item(name, webhooks=found)
    del whole["metadata"]["namespace"]
    return whole


def at(plural: str, group: str = "", *, namespaced: bool = True) -> str:
    """Return the path of a collection."""
    root = f"/apis/{group}/v1" if group else "/api/v1"
    return f"{root}/namespaces/shop/{plural}" if namespaced else f"{root}/{plural}"


def shop() -> Api:
    """Return a server, yet to be entered, whose namespace holds one application and all that it draws along."""
    api = Api(_namespaced() | _cluster(), _discovery())
    api.answers[REVIEWS] = {"status": {"allowed": True}}
    api.page = 500
    return api


def _namespaced() -> dict[str, list[Json]]:
    everything: dict[str, list[Json]] = {at(plural): [] for plural in CORE.values()}
    everything |= {at(plural, group): [] for group, kinds in GROUPS.items() for plural in kinds.values()}
    pod_spec = {"priorityClassName": "urgent"}
    return everything | {
        at("configmaps"): [item("settings", data={"a": "1"}), item("kube-root-ca.crt")],
        at("events"): [item("event")],
        at("secrets"): [item("password", type="Opaque", data={"password": "c2VjcmV0"})],
        at("services"): [item("web", spec={"selector": {"app": "web"}}), item("by-hand", spec={})],
        at("endpoints"): [item("web"), item("by-hand")],
        at("serviceaccounts"): [item("default")],
        at("persistentvolumeclaims"): [
            item("media", spec={"volumeName": "pv-1", "storageClassName": "fast"})
        ],
        at("pods"): [item("web-1", metadata=owned("ReplicaSet", "web-1"))],
        at("deployments", "apps"): [item("web", spec={"template": {"spec": pod_spec}})],
        at("replicasets", "apps"): [item("web-1", metadata=owned("Deployment", "web"))],
        at("ingresses", "networking.k8s.io"): [item("web", spec={"ingressClassName": "traefik"})],
        at("roles", RBAC): [item("reader")],
        at("rolebindings", RBAC): [item("reader", roleRef={"kind": "ClusterRole", "name": "watcher"})],
        at("widgets", "example.com"): [item("gear", spec=["odd"])],
    }


def _cluster() -> dict[str, list[Json]]:
    account = {"kind": "ServiceAccount", "name": "default"}

    def named(name: str, **content: Any) -> Json:
        return {"apiVersion": "x", "kind": "x", **item(name, **content)}

    def whole(kind: str, version: str, found: Json) -> Json:
        return {**found, "apiVersion": version, "kind": kind}

    return {
        **{at(plural, HOOKS, namespaced=False): [] for plural in GROUPS_CLUSTER[HOOKS].values()},
        "/api/v1/namespaces": [whole("Namespace", "v1", named("shop"))],
        "/api/v1/persistentvolumes": [whole("PersistentVolume", "v1", named("pv-1")), named("pv-2")],
        at("storageclasses", "storage.k8s.io", namespaced=False): [
            whole("StorageClass", "storage.k8s.io/v1", named("fast")),
            named("slow"),
        ],
        at("ingressclasses", "networking.k8s.io", namespaced=False): [
            whole("IngressClass", "networking.k8s.io/v1", named("traefik"))
        ],
        at("priorityclasses", "scheduling.k8s.io", namespaced=False): [
            whole("PriorityClass", "scheduling.k8s.io/v1", named("urgent"))
        ],
        at("customresourcedefinitions", "apiextensions.k8s.io", namespaced=False): [
            whole("CustomResourceDefinition", "apiextensions.k8s.io/v1", named("widgets.example.com"))
        ],
        at("clusterroles", RBAC, namespaced=False): [
            whole("ClusterRole", f"{RBAC}/v1", named("watcher")),
            whole("ClusterRole", f"{RBAC}/v1", named("nodes")),
        ],
        at("clusterrolebindings", RBAC, namespaced=False): [
            item(
                "ours",
                roleRef={"kind": "ClusterRole", "name": "nodes"},
                subjects=[account | {"namespace": "shop"}],
            ),
            item(
                "theirs",
                roleRef={"kind": "ClusterRole", "name": "x"},
                subjects=[account | {"namespace": "other"}],
            ),
        ],
    }


def _discovery() -> dict[str, Json]:
    groups = sorted({*GROUPS, *GROUPS_CLUSTER})
    version = {"version": "v1"}
    answers: dict[str, Json] = {
        "/version": {"gitVersion": "v1.34.4"},
        "/api/v1": _kinds(CORE, CORE_CLUSTER),
        "/apis": {
            "groups": [{"name": each, "preferredVersion": version, "versions": [version]} for each in groups]
        },
    }
    return answers | {
        f"/apis/{each}/v1": _kinds(GROUPS.get(each, {}), GROUPS_CLUSTER.get(each, {})) for each in groups
    }


def _kinds(namespaced: dict[str, str], cluster: dict[str, str]) -> Json:
    return {
        "resources": [
            {"name": plural, "kind": kind, "namespaced": kinds is namespaced, "verbs": VERBS}
            for kinds in (namespaced, cluster)
            for kind, plural in kinds.items()
        ]
    }
