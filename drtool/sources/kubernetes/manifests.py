"""The manifests source: the objects of one namespace, and of the cluster around it what they need and may be read.

A kind that may not be read is noted by name, never passed over in silence: the Role of whoever captures decides. What
is unchanged by uid and resourceVersion since the previous point is referred to and not stored again.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Self

from drtool.errors import Refused, SourceUnavailable
from drtool.policy.kinds import CORE, matches_any
from drtool.sources.base import Artifact, Captured, Json, Look, Previous, Reference
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.faults import Absent, Forbidden
from drtool.sources.kubernetes.manifests_notes import AWAY, FORBIDDEN, GONE, UID, UID_BEFORE
from drtool.sources.kubernetes.needs import Need, binds, calls, definition_of, needs_of
from drtool.sources.kubernetes.objects import encode, path_of, stat_record
from drtool.sources.kubernetes.resource import Resource
from drtool.sources.kubernetes.selection import Around, Filter, is_captured, is_group_captured, why_left_out

ACCEPTED: Final = (
    "DRTOOL_NAMESPACE_UID"  # whoever captures outside of a pod says so that it may be another one
)
# Of the cluster, what points into the namespace: each is looked at, for nothing in the namespace names it.
_POINTING: Final = {
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): binds,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): calls,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): calls,
}
_NAMESPACE: Final = ("", "Namespace")
_SERVICE: Final = ("", "Service")
_ACCOUNT: Final = ("", "ServiceAccount")


@dataclass(frozen=True, slots=True)
class ManifestsSource:
    """Captures the objects of a namespace: what the policy chooses of it. The clock tells the span.

    accepted is the uid of a namespace that may be another one than that of the point before: a name leads anywhere,
    once the context of a kubeconfig is another. None accepts any, and notes it: a pod is where its policy is.
    """

    cluster: Cluster
    namespace: str
    chosen: Filter
    clock: Callable[[], datetime]
    accepted: str | None = ""

    kind: ClassVar = "manifests"

    def capture(self, previous: Previous | None) -> "ManifestsCapture":
        """Begin a capture. Contacts nothing yet."""
        return ManifestsCapture(self, previous)


class ManifestsCapture:
    """A capture under way. Holds one page of objects, and of all of them no more than names that others ask for."""

    def __init__(self, source: ManifestsSource, previous: Previous | None) -> None:
        self._source = source
        self._cluster, self._namespace = source.cluster, source.namespace
        self._chosen, self._clock = source.chosen, source.clock
        self._previous = previous
        self._uid_before = previous.facts.get(UID) if previous else None
        self._uid = self._uid_before  # where it may not be read, the next point is held to the one before
        self._is_seen = False  # whether the namespace is known to be there
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._may: dict[tuple[str, str], bool] = {}
        self._around = Around(self._is_read, set())
        self._needs: dict[Need, None] = {}  # in the order in which they were met
        self._counts: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._versions: dict[str, str] = {}
        self._not_captured: dict[str, str] = {}
        self._elsewhere: list[str] = []  # webhook configurations that call nobody in the namespace
        self._begin: datetime | None = None
        self._end: datetime | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._cluster.close()

    def look(self) -> Look:
        """Return where the namespace is. Raises as the capture would that finds none, or another: no object is read."""
        self._kinds = {(each.group, each.kind): each for each in self._cluster.resources()}
        deque(self._namespace_itself(), maxlen=0)
        return Look(
            f"namespace {self._namespace} of Kubernetes {self._cluster.version()} at {self._cluster.where}"
        )

    def __iter__(self) -> Iterator[Artifact | Reference]:
        """Yield the objects. Raises SourceUnavailable where there is no such namespace, or nothing may be read.

        Raises Refused where the namespace is another one.
        """
        self._begin = self._clock()
        self._kinds = {(each.group, each.kind): each for each in self._cluster.resources()}
        for group in self._cluster.unserved:
            if is_group_captured(group) and not matches_any(self._chosen.exclude, group, "*"):
                self._not_captured[f"{group}/*"] = AWAY
        yield from self._namespace_itself()
        listed = [each for each in self._kinds.values() if is_captured(each) and self._takes(each)]
        for resource in sorted(listed, key=_services_first):
            yield from self._objects(resource)
        self._refuse_nothing(listed)
        for kind, points in _POINTING.items():
            yield from self._pointing(kind, points)
        yield from self._needed()
        self._end = self._clock()

    def result(self) -> Captured:
        """Return the span of the listings, what was captured by number, and what was not by name of its kind."""
        if self._begin is None or self._end is None:
            raise SourceUnavailable("the namespace was not read to its end")
        facts = {
            "namespace": self._namespace,
            **({UID: self._uid} if self._uid else {}),
            **({UID_BEFORE: self._uid_before} if self._uid_before not in (None, self._uid) else {}),
            "server_version": self._cluster.version(),
            "counts": dict(sorted(self._counts.items())),
            "left_out": dict(sorted(self._left_out.items())),
            "not_captured": dict(sorted(self._not_captured.items())),
            "other_webhooks": sorted(self._elsewhere),
            "idle": self._chosen.idle([*self._kinds, *((group, "*") for group in self._cluster.unserved)]),
            "versions": self._versions,
        }
        return Captured(self._begin, self._end, facts)

    def _takes(self, resource: Resource) -> bool:
        return self._chosen.takes(resource.group, resource.kind)

    def _namespace_itself(self) -> Iterator[Artifact | Reference]:
        resource = self._kinds[_NAMESPACE]
        try:
            found = self._cluster.get(resource, None, self._namespace)
        except Forbidden:
            self._not_captured[_name(resource)] = FORBIDDEN
            return
        if found is None:
            raise SourceUnavailable(
                f"there is no namespace {self._namespace} at {self._cluster.where}",
                hint="Correct `kubernetes: {namespace: …}` in the policy, or the context that names the cluster.",
            )
        self._is_seen, self._uid = True, found["metadata"]["uid"]
        self._refuse_another()
        if self._takes(resource):
            yield self._keep(resource, found)

    def _refuse_another(self) -> None:
        """Raise Refused where the namespace is not that of the point before: nothing of it was read yet."""
        if self._uid_before in (None, self._uid) or self._source.accepted in (None, self._uid):
            return
        raise Refused(
            f"namespace {self._namespace} at {self._cluster.where} has the uid {self._uid}, "
            f"and that of the point before had {self._uid_before}",
            hint="See whether KUBECONFIG's current context is the right cluster. "
            f"If the namespace was made anew, set {ACCEPTED}={self._uid} for one run.",
        )

    def _objects(self, resource: Resource) -> Iterator[Artifact | Reference]:
        """Yield the objects of one kind, page by page."""
        is_met = False
        try:
            for page in self._cluster.pages(resource, self._namespace):
                self._versions[_name(resource)] = page.version
                for item in page:
                    reason = why_left_out(item, self._note_service(item))
                    if reason is not None:
                        self._left_out[reason] += 1
                        continue
                    is_met = True
                    yield self._keep(resource, item)
        except Forbidden:
            self._not_captured[_name(resource)] = FORBIDDEN
        except Absent:  # its definition was deleted since we asked for the kinds
            self._not_captured[_name(resource)] = GONE
        definition = definition_of(resource)
        if is_met and definition:
            self._needs[definition] = None

    def _note_service(self, item: Json) -> Around:
        if item["kind"] == "Service" and (item.get("spec") or {}).get("selector"):
            self._around.selecting.add(item["metadata"]["name"])
        return self._around

    def _keep(self, resource: Resource, item: Json) -> Artifact | Reference:
        self._counts[_name(resource)] += 1
        self._needs |= dict.fromkeys(needs_of(item))
        path, entry, stat = path_of(item), {"type": "object"}, stat_record(item)
        if self._previous is not None and stat is not None:
            reference = self._previous.unchanged(path, entry, stat)
            if reference is not None:
                return reference
        data = encode(item)
        return Artifact(path, entry, [data], len(data), stat=stat)

    def _is_read(self, group: str, kind: str) -> bool:
        """Return whether objects of a kind are read here: what they made comes back with them.

        An owner outside of the namespace is not captured, whatever this user may list.
        """
        if (group, kind) not in self._may:
            resource = self._kinds.get((group, kind))
            try:
                may = bool(
                    resource and resource.namespaced and self._cluster.may("list", resource, self._namespace)
                )
            except Forbidden:  # not even to ask: what it made is then kept, too
                may = False
            self._may[group, kind] = may
        return self._may[group, kind]

    def _refuse_nothing(self, listed: list[Resource]) -> None:
        """Raise when nothing at all was met, unless the namespace was seen, and has nothing of what the policy takes.

        Of service accounts a namespace always has one.
        """
        if self._left_out or any(self._counts[_name(each)] for each in listed):
            return
        read = [each for each in listed if self._not_captured.get(_name(each)) != FORBIDDEN]
        if listed and not read:
            raise SourceUnavailable(
                f"nothing in namespace {self._namespace} may be read",
                hint="Bind the Role that `drtool render` writes to the account that captures.",
            )
        if not self._is_seen or not read or any((each.group, each.kind) == _ACCOUNT for each in read):
            raise SourceUnavailable(
                f"nothing was found in namespace {self._namespace} that the policy takes",
                hint="Look at `kubernetes: {namespace: …}`, include and exclude in the policy.",
            )

    def _pointing(
        self, kind: tuple[str, str], points: Callable[[Json, str], bool]
    ) -> Iterator[Artifact | Reference]:
        """Yield what of a kind of the cluster points into the namespace; webhooks of others are noted by name."""
        resource = self._kinds.get(kind)
        if resource is None or not self._takes(resource):
            return
        try:
            for page in self._cluster.pages(resource, None):
                for item in page:
                    if not points(item, self._namespace):
                        self._elsewhere += [_told(item)] if points is calls else []
                    elif why_left_out(item, self._around) is None:
                        yield self._keep(resource, item)
        except Forbidden:
            self._not_captured[_name(resource)] = FORBIDDEN

    def _needed(self) -> Iterator[Artifact | Reference]:
        """Yield what the others refer to, and what that refers to; what is not there is no fault of a capture."""
        done: set[Need] = set()
        while left := [need for need in self._needs if need not in done]:
            for need in left:
                done.add(need)
                resource = self._kinds.get((need.group, need.kind))
                if resource is None or not self._takes(resource) or _name(resource) in self._not_captured:
                    continue
                try:
                    found = self._cluster.get(resource, None, need.name)
                except Forbidden:
                    self._not_captured[_name(resource)] = FORBIDDEN
                    continue
                if found is not None and why_left_out(found, self._around) is None:
                    yield self._keep(resource, found)


def _told(item: Json) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


def _name(resource: Resource) -> str:
    return f"{resource.group or CORE}/{resource.kind}"


def _services_first(resource: Resource) -> tuple[bool, str]:
    """Put Services before what is made of them."""
    return (resource.group, resource.kind) != _SERVICE, resource.name
