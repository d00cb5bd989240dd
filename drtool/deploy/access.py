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
from drtool.policy.kinds import NAMESPACED, OPTIONAL, custom_groups, named_groups
from drtool.policy.schema import Policy
from drtool.policy.volumes import ManifestsVolume, PostgresVolume

RBAC: Final = "rbac.authorization.k8s.io"


def access(policy: Policy, namespace: str) -> Iterator[Object]:
    """Yield the service accounts that a policy's volumes need, each with its Role and RoleBinding."""
    yield from _account(BACKUP_ACCOUNT, _of_itself(policy), namespace)
    if any(isinstance(volume, ManifestsVolume) for volume in policy.volumes):
        yield from _account(
            MANIFESTS_ACCOUNT, [*_of_itself(policy), *_captured(policy, namespace)], namespace
        )


def _captured(policy: Policy, namespace: str) -> Iterator[Object]:
    """Yield the right to read what every namespace may hold, and the custom resources of groups that include names.

    Not "*" of the core: that holds pods/exec. Nor more than a namespace's admin has, for whoever applies a Role must
    have all of its rights.
    """
    included = [
        each for volume in policy.volumes if isinstance(volume, ManifestsVolume) for each in volume.include
    ]
    yield {**_rule("", ["namespaces"], ["get"]), "resourceNames": [namespace]}
    for group, kinds in NAMESPACED.items():
        if group not in OPTIONAL - named_groups(included):
            yield _rule(group, list(kinds.values()), ["get", "list"])
    for group in sorted(custom_groups(included)):
        yield _rule(group, ["*"], ["get", "list"])


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
