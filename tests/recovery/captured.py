"""Objects as a capture holds them: whole, with all that an API server adds."""

from typing import Any

Json = dict[str, Any]
SERVED = {
    ("", kind): ("v1",)
    for kind in (
        *(
            "Namespace",
            "ConfigMap",
            "Secret",
            "Service",
            "ServiceAccount",
            "Pod",
            "Endpoints",
            "Event",
            "Node",
        ),
        *("PersistentVolume", "PersistentVolumeClaim", "ResourceQuota", "ReplicationController"),
    )
} | {
    ("apps", "Deployment"): ("v1",),
    ("apps", "StatefulSet"): ("v1",),
    ("apps", "DaemonSet"): ("v1",),
    ("apps", "ReplicaSet"): ("v1",),
    ("batch", "CronJob"): ("v1",),
    ("batch", "Job"): ("v1",),
    ("autoscaling", "HorizontalPodAutoscaler"): ("v2", "v1"),
    ("policy", "PodDisruptionBudget"): ("v1",),
    ("networking.k8s.io", "Ingress"): ("v1",),
    ("networking.k8s.io", "IngressClass"): ("v1",),
    ("networking.k8s.io", "NetworkPolicy"): ("v1",),
    ("rbac.authorization.k8s.io", "Role"): ("v1",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("v1",),
    ("rbac.authorization.k8s.io", "ClusterRole"): ("v1",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("v1",),
    ("storage.k8s.io", "StorageClass"): ("v1",),
    ("scheduling.k8s.io", "PriorityClass"): ("v1",),
    ("discovery.k8s.io", "EndpointSlice"): ("v1",),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): ("v1",),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): ("v1",),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("v1",),
    ("apiregistration.k8s.io", "APIService"): ("v1",),
}
CLUSTER = {
    *("Namespace", "PersistentVolume", "StorageClass", "PriorityClass", "ClusterRole", "ClusterRoleBinding"),
    *("CustomResourceDefinition", "ValidatingWebhookConfiguration", "APIService", "Node", "IngressClass"),
    "MutatingWebhookConfiguration",
}


def captured(api_version: str, kind: str, name: str, **content: Any) -> Json:
    """Return an object of namespace shop, or of the cluster."""
    metadata = {
        "name": name,
        **({} if kind in CLUSTER else {"namespace": "shop"}),
        "uid": f"old-{name}",
        "resourceVersion": "41",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "generation": 3,
        "selfLink": "/x",
        **content.pop("metadata", {}),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def annotated(**annotations: str) -> Json:
    """Return metadata with annotations; `_` of a name is written as it is."""
    return {"annotations": annotations}


def workload(kind: str, name: str, replicas: int = 2, **spec: Any) -> Json:
    """Return a Deployment or its like, of one container."""
    pod = {"containers": [{"name": "app", "image": "app:1"}], **spec.pop("pod", {})}
    labels = {"app": name}
    content = {"replicas": replicas, "selector": {"matchLabels": labels}, **spec}
    content["template"] = {"metadata": {"labels": labels, "creationTimestamp": None}, "spec": pod}
    return captured("apps/v1", kind, name, spec=content, status={"replicas": replicas})


def claim(name: str, storage_class: str | None = "fast", **spec: Any) -> Json:
    """Return a bound claim."""
    size = spec.pop("size", "1Gi")
    content = {"resources": {"requests": {"storage": size}}, "volumeName": f"pv-{name}", **spec}
    if storage_class is not None:
        content["storageClassName"] = storage_class
    bound = {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
        "volume.kubernetes.io/selected-node": "old-node",
        "volume.beta.kubernetes.io/storage-provisioner": "old",
        "volume.kubernetes.io/storage-provisioner": "old",
    }
    status = {"phase": "Bound", "capacity": {"storage": size}}
    metadata = {"annotations": bound, "finalizers": ["kubernetes.io/pvc-protection"]}
    return captured("v1", "PersistentVolumeClaim", name, spec=content, status=status, metadata=metadata)


def volume(name: str, storage_class: str = "fast", **source: Any) -> Json:
    """Return a PersistentVolume bound to claim media."""
    reference = {"namespace": "shop", "name": "media", "uid": "old", "resourceVersion": "9"}
    spec = {
        "claimRef": reference,
        "storageClassName": storage_class,
        "persistentVolumeReclaimPolicy": "Delete",
        **source,
    }
    return captured("v1", "PersistentVolume", name, spec=spec, status={"phase": "Bound"})
