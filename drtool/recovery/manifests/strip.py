"""What is taken off an object before it is applied anew: what the old cluster said of it, and what no new one may hear.

strip changes the object that it is given. Services and claims have rules of their own, in ports.py and claims.py.
"""

from fnmatch import fnmatchcase
from typing import Any, Final

from drtool.policy.made_anew import TOKEN
from drtool.recovery.manifests.choose import Around
from drtool.recovery.manifests.claims import move_class, strip_claim, strip_volume
from drtool.recovery.manifests.objects import (
    NETWORK,
    RBAC,
    Json,
    annotations_of,
    kind_of,
    part,
    pod_template_of,
    spec_of,
)
from drtool.recovery.manifests.ports import strip_service

OWN: Final = "drtool.io/"  # of drtool's labels and annotations
_METADATA: Final = ("name", "namespace", "labels", "annotations")  # all else is the server's, or an old uid's
_ANNOTATIONS: Final = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/*",
    "deprecated.daemonset.template.generation",
    "pv.kubernetes.io/*",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-resizer",
    "volume.beta.kubernetes.io/*",
    "control-plane.alpha.kubernetes.io/leader",
    "k8s.ovn.org/*",
    "k8s.v1.cni.cncf.io/network-status",
    "cni.projectcalico.org/*",
    "kubernetes.io/service-account.uid",
    "endpoints.kubernetes.io/last-change-trigger-time",
    "autoscaling.alpha.kubernetes.io/conditions",  # a status; an old HPA has its other metrics in such annotations
    "autoscaling.alpha.kubernetes.io/current-metrics",
    "batch.kubernetes.io/job-tracking",
    "openshift.io/*",
    f"{OWN}*",
)
_LABELS: Final = ("kubernetes.io/metadata.name", f"{OWN}*")
_JOB_LABELS: Final = (
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
)
_HOSTNAME: Final = "kubernetes.io/hostname"
_ADMITTED: Final = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
_INJECTED: Final = ("kube-api-access-*", "default-token-*")
_INJECTORS: Final = frozenset(  # of cert-manager's, which writes a caBundle again
    f"cert-manager.io/inject-{source}" for source in ("ca-from", "ca-from-secret", "apiserver-ca")
)
_CLASS_NOTE: Final = "kubernetes.io/ingress.class"


def strip(item: Json, around: Around) -> list[str]:
    """Take off item what does not belong into another cluster; return what a person should know of it."""
    notes: list[str] = []
    special = _SPECIAL.get(kind_of(item))
    if special is not None:
        notes += special(item, around) or []
    item.pop("status", None)
    item["metadata"] = _metadata(item["metadata"])
    template = pod_template_of(item)
    if template:
        notes += _pod_template(template, is_pod=item["kind"] == "Pod")
    return notes


def _metadata(metadata: Json) -> Json:
    kept = {key: metadata[key] for key in _METADATA if metadata.get(key)}
    for key, patterns in (("annotations", _ANNOTATIONS), ("labels", _LABELS)):
        if key in kept:
            kept[key] = {name: value for name, value in kept[key].items() if not _is_any(name, patterns)}
    return {key: value for key, value in kept.items() if value}


def _is_any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _pod_template(template: Json, *, is_pod: bool) -> list[str]:
    """Take off the pods of a workload what ties them to the old cluster's nodes and tokens."""
    template["metadata"] = _metadata(part(template, "metadata"))
    pod = part(template, "spec")
    for key in ("nodeName", "priority", "serviceAccount", "ephemeralContainers"):
        pod.pop(key, None)
    _take_injected(pod)
    if is_pod:
        _keep(pod, "tolerations", [each for each in pod.get("tolerations") or [] if not _is_admitted(each)])
    selector = part(pod, "nodeSelector")
    if _HOSTNAME not in selector:
        return []
    node = selector.pop(_HOSTNAME)
    _keep(pod, "nodeSelector", selector)
    return [f"its pods are not tied to node {node} any more"]


def _take_injected(pod: Json) -> None:
    volumes = pod.get("volumes") or []
    gone = {each["name"] for each in volumes if _is_any(each["name"], _INJECTED)}
    if not gone:
        return
    _keep(pod, "volumes", [each for each in volumes if each["name"] not in gone])
    for container in (*(pod.get("initContainers") or []), *pod["containers"]):
        mounts = [each for each in container.get("volumeMounts") or [] if each["name"] not in gone]
        _keep(container, "volumeMounts", mounts)


def _is_admitted(toleration: Json) -> bool:
    return toleration.get("key") in _ADMITTED and "tolerationSeconds" in toleration


def _keep(value: Json, key: str, rest: Any) -> None:
    """Set what is left below key, or nothing at all where nothing is."""
    value.pop(key, None)
    if rest:
        value[key] = rest


def _job(item: Json, _around: Around) -> list[str]:
    spec = spec_of(item)
    if not spec.pop("manualSelector", False):
        spec.pop("selector", None)
        for labels in (part(item, "metadata", "labels"), part(spec, "template", "metadata", "labels")):
            for name in _JOB_LABELS:
                labels.pop(name, None)
    else:
        spec["manualSelector"] = True
    return ["it runs again"]


def _set(item: Json, _around: Around) -> None:
    for template in spec_of(item).get("volumeClaimTemplates") or []:
        template.pop("status", None)
        move_class(template)
        template["metadata"] = _metadata(template["metadata"])


def _cron_job(item: Json, _around: Around) -> None:
    template = part(item, "spec", "jobTemplate")
    _keep(template, "metadata", _metadata(part(template, "metadata")))


def _namespace(item: Json, _around: Around) -> None:
    item.pop("spec", None)  # finalizers, which its own end needs


def _secret(item: Json, _around: Around) -> None:
    if item.get("type") == TOKEN:
        for key in ("token", "ca.crt", "namespace"):
            part(item, "data").pop(key, None)


def _account(item: Json, around: Around) -> None:
    _keep(
        item,
        "secrets",
        [each for each in item.get("secrets") or [] if around.has("", "Secret", each.get("name", ""))],
    )


def _cluster_role(item: Json, _around: Around) -> None:
    if item.get("aggregationRule"):
        item.pop("rules", None)


def _definition(item: Json, _around: Around) -> None:
    part(item, "spec", "conversion", "webhook", "clientConfig").pop("caBundle", None)


def _webhooks(item: Json, _around: Around) -> list[str]:
    is_injected = not _INJECTORS.isdisjoint(annotations_of(item))
    keeps = False
    for each in item.get("webhooks") or []:
        each.setdefault("sideEffects", "None")
        if is_injected:
            part(each, "clientConfig").pop("caBundle", None)
        keeps = keeps or bool(part(each, "clientConfig").get("caBundle"))
    return ["it keeps its caBundle: its server must come with the same certificate"] if keeps else []


def _endpoints(item: Json, _around: Around) -> list[str]:
    ready = [each for subset in item.get("subsets") or [] for each in subset.get("addresses") or []]
    for address in (*ready, *(item.get("endpoints") or [])):
        address.pop("nodeName", None)
        address.pop("targetRef", None)
    return ["its addresses were written by hand: see that they are right here"]


def _ingress(item: Json, _around: Around) -> None:
    """Of the two ways to name a class exactly one may be there."""
    if spec_of(item).get("ingressClassName"):
        annotations_of(item).pop(_CLASS_NOTE, None)


def _bare(_item: Json, _around: Around) -> list[str]:
    return ["a pod of nobody: nobody makes it again when it ends"]


_SPECIAL: Final = {
    ("", "Pod"): _bare,
    ("apps", "StatefulSet"): _set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("", "Namespace"): _namespace,
    ("", "Secret"): _secret,
    ("", "ServiceAccount"): _account,
    ("", "Service"): strip_service,
    ("", "PersistentVolume"): strip_volume,
    ("", "PersistentVolumeClaim"): strip_claim,
    ("", "Endpoints"): _endpoints,
    ("discovery.k8s.io", "EndpointSlice"): _endpoints,
    (RBAC, "ClusterRole"): _cluster_role,
    (NETWORK, "Ingress"): _ingress,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): _webhooks,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): _webhooks,
}
