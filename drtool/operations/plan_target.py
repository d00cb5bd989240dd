"""A look at the target cluster before a plan is made: nothing is written, and a right that is missing is noted."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from drtool.recovery.manifests.objects import Json, Ref, kind_of, part, spec_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.preflight import certificates
from drtool.recovery.target import TargetCluster, TargetFacts
from drtool.recovery.webhooks import fatal_hooks
from drtool.sources.kubernetes.checkup import kubectl
from drtool.sources.kubernetes.client import Cluster, Resource
from drtool.sources.kubernetes.faults import Answer, Forbidden
from drtool.sources.kubernetes.known import SECRETS
from drtool.sources.kubernetes.writing import try_apply

_STORAGE: Final = "storage.k8s.io"
_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
_ALL: Final = Resource("*", "", "*", "", namespaced=False)
_SERVICE: Final = "kubernetes.io/service-name"
_ENDED: Final = ("Succeeded", "Failed")
_RBAC: Final = "rbac.authorization.k8s.io"
_STANDING: Final = (
    *(("apps", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")),
    *(("batch", "CronJob"), ("batch", "Job")),
    *(("", kind) for kind in ("ReplicationController", "Service", "ServiceAccount", "Secret", "ConfigMap")),
    *(("", "Pod"), ("", "PersistentVolumeClaim")),
)


def _kind(group: str, plural: str, *, namespaced: bool = True) -> Resource:
    return Resource(group, "v1", plural, "", namespaced=namespaced)


# What executing a plan, and undoing it, takes of the objects that come back.
_OBJECTS: Final = ("create", "get", "patch", "update", "delete")
# And beside them: what moves data, what is looked at, what keeps others away. An abort lists what a run made, and
# deletes it.
_WORK: Final = (
    (_kind("batch", "jobs"), ("create", "get", "list", "patch", "delete")),
    (_kind("", "pods"), ("create", "get", "list", "patch", "delete")),
    (_kind("", "pods/log"), ("get",)),
    (_kind("", "pods/exec"), ("create",)),
    (_kind("", "events"), ("list",)),
    (_kind("", "secrets"), ("create", "get", "list", "patch", "delete")),
    (_kind("", "configmaps"), ("get", "list", "delete")),
    (_kind("", "persistentvolumeclaims"), ("list",)),
    (_kind("networking.k8s.io", "networkpolicies"), ("create", "get", "list", "patch", "delete")),
    (_kind("coordination.k8s.io", "leases"), ("create", "get", "update", "delete")),
    (_kind("", "namespaces", namespaced=False), ("create", "get", "patch", "delete")),
    (_kind("", "persistentvolumes", namespaced=False), ("list",)),
)
# Who gives a right away must have it, or these.
_GIVING: Final = {
    "Role": "escalate",
    "ClusterRole": "escalate",
    "RoleBinding": "bind",
    "ClusterRoleBinding": "bind",
}


class TargetLook:
    """One look at a cluster: first at what it serves, then at what stands in the way of prepared objects."""

    def __init__(self, cluster: Cluster, context: str, namespace: str) -> None:
        self._cluster, self._context, self._namespace = cluster, context, namespace
        self._kinds = {(each.group, each.kind): each for each in cluster.resources()}
        self.served = self._versions()
        self._lacking: dict[str, None] = {}

    def _versions(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Return the versions of each kind, the preferred one first."""
        found = {kind: [resource.version] for kind, resource in self._kinds.items()}
        for group in self._cluster.ask("GET", "/apis", "list the API groups")["groups"]:
            name = group["name"]
            if name in self._cluster.unserved or len(group["versions"]) == 1:
                continue
            for version in [each["version"] for each in group["versions"]]:
                doing = f"list the kinds of {name}/{version}"
                kinds = self._cluster.ask("GET", f"/apis/{name}/{version}", doing, absent=True)
                for each in kinds.get("resources", ()):
                    versions = found.get((name, each["kind"]))
                    if versions is not None and version not in versions and "/" not in each["name"]:
                        versions.append(version)
        return {kind: tuple(versions) for kind, versions in found.items()}

    def kubectl(self, namespace: str) -> str:
        """Return how a statement begins that a person gives to the same cluster."""
        return kubectl(self._context, namespace)

    def tries(self, item: Json, manager: str) -> Answer | None:
        """Return what the server says to item, applied and not stored; None where its kind is not served yet."""
        resource = self._resource(*kind_of(item), item["apiVersion"].rpartition("/")[2])
        return try_apply(self._cluster, resource, item, manager) if resource else None

    def taken_ports(self, mine: Iterable[str]) -> dict[int, str]:
        """Return the node ports of all Services, but of those of the namespace that are called as in mine."""
        own = {(self._namespace, name) for name in mine}
        return {
            port["nodePort"]: f"{metadata['name']} in namespace {metadata['namespace']}"
            for service in self._list("", "Service", None)
            if ((metadata := service["metadata"])["namespace"], metadata["name"]) not in own
            for port in spec_of(service).get("ports") or []
            if port.get("nodePort")
        }

    def claims_behind(self, host: str) -> set[str]:
        """Return the claims of the pods that answer to host, the name of a Service or of a pod of a StatefulSet."""
        name = host.partition(".")[0]
        selectors = [
            spec_of(each).get("selector") or {}
            for each in self._list("", "Service", self._namespace)
            if each["metadata"]["name"] == name
        ]
        return {
            claim
            for pod in self._list("", "Pod", self._namespace)
            for claim in _claims_of(pod)
            if pod["metadata"]["name"] == name
            or any(each and each.items() <= part(pod, "metadata", "labels").items() for each in selectors)
        }

    def standing(self) -> list[Json]:
        """Return what is at work in the namespace, what leads to it, and what its data lies in."""
        found = [each for group, kind in _STANDING for each in self._list(group, kind, self._namespace)]
        volumes = self._list("", "PersistentVolume", None)
        return found + [
            each for each in volumes if part(each, "spec", "claimRef").get("namespace") == self._namespace
        ]

    def facts(self, prepared: Sequence[Prepared], claims: Iterable[str]) -> TargetFacts:
        """Return what decides on a plan. claims are those that get data."""
        self._note_rights(prepared)
        classes = list(self._list(_STORAGE, "StorageClass", None))
        default = [
            each["metadata"]["name"]
            for each in classes
            if part(each, "metadata", "annotations").get(_DEFAULT) == "true"
        ]
        namespace = next(self._each("", "Namespace", [self._namespace]), None)
        facts = TargetFacts(
            cluster=self.cluster(),
            served=self.served,
            phase=part(namespace, "status").get("phase", "Active") if namespace else "",
            live=self._live(prepared),
            storage_classes={each["metadata"]["name"]: each.get("provisioner", "") for each in classes},
            default_class=min(default, default=None),
            drivers=self._names(_STORAGE, "CSIDriver"),
            ingress_classes=self._names("networking.k8s.io", "IngressClass"),
            priority_classes=self._names("scheduling.k8s.io", "PriorityClass"),
            quotas=tuple(self._list("", "ResourceQuota", self._namespace)),
            users=self._users(set(claims)),
            capacities=tuple(self.seen(_STORAGE, "CSIStorageCapacity") or ()),
            labels=part(namespace, "metadata", "labels") if namespace else {},
            dead_hooks=tuple(self._dead_hooks()),
            plurals={kind: resource.plural for kind, resource in self._kinds.items()},
            certificates=frozenset(self._secrets(certificates(prepared))),
        )
        return replace(facts, lacking=tuple(self._lacking))

    def _secrets(self, names: Iterable[str]) -> Iterator[str]:
        """Yield which Secrets of the namespace are there; none for who may not see them, for only a note needs them."""
        with suppress(Forbidden):
            for name in names:
                if self._cluster.get(SECRETS, self._namespace, name) is not None:
                    yield name

    def cluster(self) -> TargetCluster:
        """Return which cluster this is."""
        system = self._kinds["", "Namespace"]
        try:
            uid = str(part(self._cluster.get(system, None, "kube-system") or {}, "metadata").get("uid", ""))
        except Forbidden:
            uid = ""
        return TargetCluster(self._context, self._cluster.where, self._cluster.version(), uid)

    def _live(self, prepared: Sequence[Prepared]) -> dict[Ref, Json]:
        """Return those of the prepared objects that are there, as the version that is applied has them."""
        wanted: dict[tuple[str, str, str], dict[str, Prepared]] = defaultdict(dict)
        for each in prepared:
            wanted[(*each.ref[:2], each.item["apiVersion"].rpartition("/")[2])][each.ref.name] = each
        found: dict[Ref, Json] = {}
        for (group, kind, version), objects in wanted.items():
            if all(each.is_namespaced for each in objects.values()):
                items = self._list(group, kind, self._namespace, version)
            else:
                items = self._each(group, kind, objects)
            for item in items:
                if item["metadata"]["name"] in objects:
                    found[objects[item["metadata"]["name"]].ref] = item
        return found

    def _users(self, claims: set[str]) -> Mapping[str, Sequence[str]]:
        """Return the pods that use one of claims, and have not ended."""
        users: dict[str, list[str]] = defaultdict(list)
        for pod in self._list("", "Pod", self._namespace) if claims else ():
            if part(pod, "status").get("phase") in _ENDED:
                continue
            for claim in _claims_of(pod) & claims:
                users[claim].append(pod["metadata"]["name"])
        return users

    def _note_rights(self, prepared: Sequence[Prepared]) -> None:
        """Note what may not be done to each kind. An administrator is asked for once."""
        if self._cluster.may("*", _ALL, None):
            return
        wanted: dict[tuple[str, str | None], tuple[Resource, dict[str, None]]] = {}
        for resource, verbs in self._needed(prepared):
            where = self._namespace if resource.namespaced else None
            wanted.setdefault((resource.name, where), (resource, {}))[1].update(dict.fromkeys(verbs))
        for (_, where), (resource, asked) in wanted.items():
            missing = [verb for verb in asked if not self._cluster.may(verb, resource, where)]
            if missing:
                *others, last = missing
                self._note(f"{', '.join(others)} and {last}" if others else last, resource, where)

    def _needed(self, prepared: Sequence[Prepared]) -> Iterator[tuple[Resource, Sequence[str]]]:
        """Yield the kinds that are worked with, and how; a kind may come more than once."""
        for group, kind, is_namespaced in sorted({(*each.ref[:2], each.is_namespaced) for each in prepared}):
            resource = self._kinds.get((group, kind))
            if resource is None:  # it will be served once its definition is there
                continue
            yield resource, _OBJECTS
            if group == _RBAC and kind in _GIVING:
                roles = "clusterroles" if kind.startswith("Cluster") else "roles"
                yield _kind(_RBAC, roles, namespaced=is_namespaced), [_GIVING[kind]]
        yield from _WORK

    def _dead_hooks(self) -> Iterator[tuple[str, Json]]:
        """Yield the webhooks that let nothing pass, and have nobody behind their Service."""
        kinds = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
        found = [each for kind in kinds for each in self.seen("admissionregistration.k8s.io", kind) or ()]
        hooks = [hook for configuration in found for hook in fatal_hooks(configuration)]
        slices = self.seen("discovery.k8s.io", "EndpointSlice") if hooks else None
        if slices is None:
            return
        ready = {
            (each["metadata"]["namespace"], part(each, "metadata", "labels").get(_SERVICE))
            for each in slices
            if any(part(one, "conditions").get("ready") is not False for one in each.get("endpoints") or [])
        }
        for name, hook in hooks:
            service = part(hook, "clientConfig", "service")
            if (service.get("namespace"), service.get("name")) not in ready:
                yield name, hook

    def seen(self, group: str, kind: str) -> list[Json] | None:
        """Return the objects of a kind in all namespaces; None for who may not see them, and goes without."""
        before = dict(self._lacking)
        found = list(self._list(group, kind, None))
        lacks, self._lacking = self._lacking != before, before
        return None if lacks else found

    def _names(self, group: str, kind: str) -> frozenset[str]:
        return frozenset(each["metadata"]["name"] for each in self._list(group, kind, None))

    def _list(self, group: str, kind: str, namespace: str | None, version: str = "") -> Iterator[Json]:
        """Yield the objects of a kind; none where it is not served, and where they may not be seen, which is noted."""
        resource = self._resource(group, kind, version)
        if resource is not None:
            try:
                for page in self._cluster.pages(resource, namespace):
                    yield from page
            except Forbidden:
                self._note("list", resource, namespace)

    def _each(self, group: str, kind: str, names: Iterable[str]) -> Iterator[Json]:
        """Yield the objects of the cluster that are called so, and are there."""
        resource = self._resource(group, kind)
        if resource is None:
            return
        for name in sorted(names):
            try:
                found = self._cluster.get(resource, None, name)
            except Forbidden:
                self._note("get", resource, None)
                return
            if found:
                yield found

    def _note(self, verbs: str, resource: Resource, namespace: str | None) -> None:
        everywhere = " in all namespaces" if resource.namespaced else ""
        self._lacking[
            f"{verbs} {resource.name}{f' in namespace {namespace}' if namespace else everywhere}"
        ] = None

    def _resource(self, group: str, kind: str, version: str = "") -> Resource | None:
        found = self._kinds.get((group, kind))
        return replace(found, version=version) if found and version else found


def _claims_of(pod: Json) -> set[str]:
    volumes = spec_of(pod).get("volumes") or []
    return {part(each, "persistentVolumeClaim").get("claimName", "") for each in volumes} - {""}
