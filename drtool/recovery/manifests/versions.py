"""In which version an object is applied: its own where the target serves it, else one of the same shape.

Only pairs whose fields are the same are converted. `_SAME` says which, and what must be so for them to mean the same.
Everything else is refused by name: whoever wrote the object has to write it for the version that is served.
"""

from collections.abc import Callable, Mapping
from typing import Final

from drtool.policy.kinds import group_of
from drtool.recovery.manifests.objects import Json, Ref, part, ref_of, spec_of

Served = Mapping[tuple[str, str], tuple[str, ...]]  # versions of (group, kind), the preferred one first


def _always(_item: Json) -> bool:
    return True


def _selects(item: Json) -> bool:
    """apps/v1 and policy/v1 make no selector up, and an empty one takes all pods in policy/v1."""
    selector = part(item, "spec", "selector")
    return bool(selector.get("matchLabels") or selector.get("matchExpressions"))


def _is_plain_hook(item: Json) -> bool:
    hooks = item.get("webhooks") or []
    sound = ("None", "NoneOnDryRun")
    return all(each.get("admissionReviewVersions") and each.get("sideEffects") in sound for each in hooks)


def _is_explicit_class(item: Json) -> bool:
    """Return whether an IngressClass or a StorageClass says who serves it."""
    return bool(item.get("provisioner") or spec_of(item).get("controller"))


_SAME: Final[Mapping[tuple[str, str], tuple[str, Callable[[Json], bool]]]] = {
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): ("autoscaling/v2", _always),
    ("batch/v1beta1", "CronJob"): ("batch/v1", _always),
    ("policy/v1beta1", "PodDisruptionBudget"): ("policy/v1", _selects),
    **{
        (version, kind): ("apps/v1", _selects)
        for version in ("extensions/v1beta1", "apps/v1beta1", "apps/v1beta2")
        for kind in ("Deployment", "DaemonSet", "ReplicaSet", "StatefulSet")
    },
    ("extensions/v1beta1", "NetworkPolicy"): ("networking.k8s.io/v1", _always),
    ("networking.k8s.io/v1beta1", "IngressClass"): ("networking.k8s.io/v1", _is_explicit_class),
    ("storage.k8s.io/v1beta1", "StorageClass"): ("storage.k8s.io/v1", _is_explicit_class),
    ("scheduling.k8s.io/v1beta1", "PriorityClass"): ("scheduling.k8s.io/v1", _always),
    **{
        (f"rbac.authorization.k8s.io/{version}", kind): ("rbac.authorization.k8s.io/v1", _always)
        for version in ("v1beta1", "v1alpha1")
        for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    },
    **{
        ("admissionregistration.k8s.io/v1beta1", f"{name}WebhookConfiguration"): (
            "admissionregistration.k8s.io/v1",
            _is_plain_hook,
        )
        for name in ("Mutating", "Validating")
    },
}


def served_by(definition: Json) -> Served:
    """Return what a CustomResourceDefinition will serve once it is there."""
    spec = spec_of(definition)
    versions = tuple(each["name"] for each in spec.get("versions") or [] if each.get("served"))
    return {(spec.get("group", ""), part(spec, "names").get("kind", "")): versions}


def is_served(api_version: str, kind: str, served: Served) -> bool:
    """Return whether a kind is served in just this version."""
    return api_version.rpartition("/")[2] in served.get((group_of(api_version), kind), ())


def ref_now(item: Json) -> Ref:
    """Return which object this is once it is converted: some kinds moved to another group."""
    version, _ = _SAME.get((item["apiVersion"], item["kind"]), (item["apiVersion"], _always))
    return ref_of({**item, "apiVersion": version})


def version_for(item: Json, served: Served) -> tuple[str, str]:
    """Return the apiVersion in which item can be applied, else "" and why there is none."""
    api_version, kind = item["apiVersion"], item["kind"]
    if is_served(api_version, kind, served):
        return api_version, ""
    other, fits = _SAME.get((api_version, kind), ("", _always))
    if other and is_served(other, kind, served):
        if fits(item):
            return other, ""
        return "", f"is of {api_version}, and would mean something else in {other}"
    there = served.get((group_of(api_version), kind), ())
    if there:
        return "", f"is of {api_version}, and the target serves {', '.join(there)} only, of another shape"
    return "", f"is of {api_version}, and the target serves no such kind"
