"""`doctor --rbac`: every right that a duty needs is asked of the API; where one is missing, a Role has them all.

What the service accounts need is what `render` gives them. Whoever applies that must hold it himself, and doctor looks
at a little more. To apply a Role takes nothing away: its name is its subject's own, and it is the same each time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from drtool.deploy.access import RBAC, access
from drtool.deploy.names import COMMON, POLICY_MAP, Object, new
from drtool.errors import DrtoolError, UsageError
from drtool.operations.results import MissingRights
from drtool.operations.session import World
from drtool.policy.schema import Policy
from drtool.sources.kubernetes.client import Cluster, Resource

# What `drtool doctor` looks at in the namespace; the first makes its findings plainer, and no more.
DOCTOR: Final[tuple[Object, ...]] = (
    {
        "apiGroups": [""],
        "resources": ["secrets", "persistentvolumeclaims", "pods", "events"],
        "verbs": ["get", "list"],
    },
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": [POLICY_MAP]},
    {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
)
_WHO: Final = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
_ACCOUNT: Final = "system:serviceaccount:"
_DIGEST_DIGITS: Final = 8


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one kind, or on one object of it."""

    group: str
    plural: str
    verb: str
    name: str = ""

    def is_held(self, cluster: Cluster, namespace: str) -> bool:
        """Ask the API whether who speaks through cluster holds it."""
        resource = Resource(self.group, "v1", self.plural, "", namespaced=True)
        return cluster.may(self.verb, resource, namespace, self.name)


def run_rbac(policy: Policy, world: World, context: str | None) -> MissingRights:
    """Return the rights that are missing: of who asks, and of the service accounts that he may impersonate.

    Raises UsageError for a policy without a namespace; what the API raises where it cannot be reached.
    """
    if policy.kubernetes is None:
        raise UsageError(
            f"policy {policy.name} names no namespace", hint="Set kubernetes: {namespace: NAME} in it."
        )
    namespace = policy.kubernetes.namespace

    with ExitStack() as held:

        def speak(as_user: str) -> Cluster:
            return held.enter_context(
                Cluster.open(
                    context,
                    world.environment,
                    patience_s=world.patience_s,
                    ending=world.ending,
                    as_user=as_user,
                )
            )

        return _ask(policy, namespace, speak)


def _ask(policy: Policy, namespace: str, speak: Callable[[str], Cluster]) -> MissingRights:
    """Ask for every right of every duty. speak returns the cluster as a user sees it, as ourselves for ""."""
    cluster = speak("")
    me = _who(cluster)
    duties = _duties(policy, namespace)
    asked: list[str] = []
    unasked: list[str] = []
    roles: list[Object] = []
    everything = {right for rights in duties.values() for right in rights} | set(rights_of(DOCTOR))
    subjects: dict[str, set[Right]] = {me: duties.get(_account_name(me, namespace), everything)}
    for account, rights in duties.items():
        subjects.setdefault(f"{_ACCOUNT}{namespace}:{account}", rights)
    for user, rights in subjects.items():
        account = _account_name(user, namespace)
        if user != me and not Right("", "serviceaccounts", "impersonate", account).is_held(
            cluster, namespace
        ):
            unasked.append(user)
            continue
        as_user = cluster if user == me else speak(user)
        asked.append(user)
        if not all(right.is_held(as_user, namespace) for right in rights):
            roles += _granting(sorted(rights), user, namespace)
    return MissingRights(policy.name, namespace, tuple(asked), tuple(unasked), tuple(roles))


def rights_of(rules: Iterable[Object]) -> Iterator[Right]:
    """Yield every single right of a Role's rules."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for plural in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(group, plural, verb, name)


def rules_of(rights: Iterable[Right]) -> list[Object]:
    """Return rights as the rules of a Role: kinds of one group with the same verbs together."""
    verbs: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for right in rights:
        verbs[right.group, right.name, right.plural].append(right.verb)
    kinds: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, name, plural), said in verbs.items():
        kinds[group, name, tuple(said)].append(plural)
    return [
        {
            "apiGroups": [group],
            "resources": plurals,
            "verbs": list(said),
            **({"resourceNames": [name]} if name else {}),
        }
        for (group, name, said), plurals in kinds.items()
    ]


def _duties(policy: Policy, namespace: str) -> Mapping[str, set[Right]]:
    """Return what each service account needs, by its name."""
    return {
        made["metadata"]["name"]: set(rights_of(made["rules"]))
        for made in access(policy, namespace)
        if made["kind"] == "Role"
    }


def _who(cluster: Cluster) -> str:
    """Return who the API takes us for; empty where it is older than 1.28, and cannot say."""
    body = {"apiVersion": _WHO.api_version, "kind": _WHO.kind}
    try:
        return str(cluster.create(_WHO, None, body)["status"]["userInfo"]["username"])
    except (DrtoolError, KeyError):
        return ""


def _account_name(user: str, namespace: str) -> str:
    """Return the name of a service account of namespace; empty for any other user."""
    prefix = f"{_ACCOUNT}{namespace}:"
    return user.removeprefix(prefix) if user.startswith(prefix) else ""


def _granting(rights: list[Right], user: str, namespace: str) -> Iterator[Object]:
    """Yield the Role of rights, and what binds it to user. Of each user it is another one, and holds all of his."""
    account = _account_name(user, namespace)
    digest = sha256(user.encode()).hexdigest()[:_DIGEST_DIGITS]
    name = f"{account}-rights" if account else f"drtool-operator-{digest}"
    subject = {"kind": "User", "apiGroup": RBAC, "name": user or "WHO-ASKED"}
    if account:
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    for made in (
        new(f"{RBAC}/v1", "Role", name, COMMON, rules=rules_of(rights)),
        new(
            f"{RBAC}/v1",
            "RoleBinding",
            name,
            COMMON,
            roleRef={"apiGroup": RBAC, "kind": "Role", "name": name},
            subjects=[subject],
        ),
    ):
        made["metadata"]["namespace"] = namespace
        yield made
