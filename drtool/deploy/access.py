"""What drtool's service accounts may: a Role for each duty, in the policy's namespace, and nothing beyond it."""

from collections.abc import Iterator
from typing import Final

from drtool.deploy.names import (
    BACKUP_ACCOUNT,
    COMMON,
    MANIFESTS_ACCOUNT,
    Object,
    cron_job,
    follower,
    new,
)
from drtool.policy.schema import Policy
from drtool.policy.volumes import ManifestsVolume, PostgresVolume

RBAC: Final = "rbac.authorization.k8s.io"

# The kinds of a namespace that an application is made of, by API group. Not "*": that holds pods/exec, and whoever
# applies a Role must have all of its rights.
CAPTURED: Final = {
    "": (
        *("configmaps", "endpoints", "limitranges", "persistentvolumeclaims", "pods", "podtemplates"),
        *("replicationcontrollers", "resourcequotas", "secrets", "serviceaccounts", "services"),
    ),
    "apps": ("daemonsets", "deployments", "replicasets", "statefulsets"),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("cronjobs", "jobs"),
    "networking.k8s.io": ("ingresses", "networkpolicies"),
    "policy": ("poddisruptionbudgets",),
    RBAC: ("rolebindings", "roles"),
    "traefik.io": (
        *("ingressroutes", "ingressroutetcps", "ingressrouteudps", "middlewares", "middlewaretcps"),
        *("serverstransports", "serverstransporttcps", "tlsoptions", "tlsstores", "traefikservices"),
    ),
}


def access(policy: Policy, namespace: str) -> Iterator[Object]:
    """Yield the service accounts that a policy's volumes need, each with its Role and RoleBinding."""
    yield from _account(BACKUP_ACCOUNT, _of_itself(policy), namespace)
    if any(isinstance(volume, ManifestsVolume) for volume in policy.volumes):
        read = [_rule(group, kinds, ["get", "list"]) for group, kinds in CAPTURED.items()]
        yield from _account(MANIFESTS_ACCOUNT, [*_of_itself(policy), *read], namespace)


def _of_itself(policy: Policy) -> list[Object]:
    """Return the right to put Events on the objects that drtool's pods belong to."""
    jobs = [cron_job(volume) for volume in policy.volumes]
    followers = [follower(volume) for volume in policy.volumes if isinstance(volume, PostgresVolume)]
    rules = [
        _rule("", ["events"], ["create"]),
        {**_rule("batch", ["cronjobs"], ["get"]), "resourceNames": jobs},
    ]
    if followers:
        rules.append({**_rule("apps", ["deployments"], ["get"]), "resourceNames": followers})
    return rules


def _rule(group: str, resources: list[str] | tuple[str, ...], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": verbs}


def _account(name: str, rules: list[Object], namespace: str) -> Iterator[Object]:
    yield new("v1", "ServiceAccount", name, COMMON, automountServiceAccountToken=False)
    yield new(f"{RBAC}/v1", "Role", name, COMMON, rules=rules)
    yield new(
        f"{RBAC}/v1",
        "RoleBinding",
        name,
        COMMON,
        roleRef={"apiGroup": RBAC, "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    )
