"""The one door to Kubernetes' API: plain JSON in and out, patient with a server that is away, plain about refusals.

The official client knows where clusters are and how to log in; its models are left alone, for they know no kinds but
their own, and take more room than what they hold.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, Self
from urllib.parse import quote, urlencode

from urllib3.exceptions import HTTPError

from drtool.errors import SourceUnavailable, TemporaryFailure, UsageError
from drtool.sources.base import Json
from drtool.sources.kubernetes.faults import Answer, ListingExpired, Unauthorized, refusal

PATIENCE_S = 120.0  # how long a server that is away, or overloaded, is waited for
PAGE = 500  # objects asked for at once
_CONNECT_S, _READ_S = 5.0, 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_IN_A_POD: Final = "KUBERNETES_SERVICE_HOST"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API serves it. group is empty for the core; verbs are what may be asked of it at all."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The name that tells it from all others: deployments.apps."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As objects of it say: apps/v1."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "") -> str:
        """Return the path of the collection in namespace, or of one object of it."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{quote(namespace)}" if namespace and self.namespaced else ""
        return f"{root}{within}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)


class Transport(Protocol):
    """How one request reaches the API server."""

    where: str

    def ask(self, method: str, target: str, body: Json | None) -> Answer:
        """Return the answer to one request. Raises OSError or urllib3's HTTPError where none came."""
        ...

    def renew(self) -> None:
        """Read the credentials again, for they may have been renewed."""
        ...


class Cluster:
    """A cluster, as one user sees it. Every error of its API becomes one of ours here."""

    def __init__(
        self, transport: Transport, *, patience_s: float = PATIENCE_S, ending: threading.Event | None = None
    ) -> None:
        self._transport = transport
        self._patience_s = patience_s
        self._ending = ending or threading.Event()

    @classmethod
    def open(
        cls,
        context: str | None,
        environment: Mapping[str, str],
        *,
        patience_s: float = PATIENCE_S,
        ending: threading.Event | None = None,
        as_user: str = "",
    ) -> Self:
        """Return the cluster of a pod's service account; outside of a pod that of context, in KUBECONFIG.

        A context of None is the current one. as_user is whom to impersonate. Contacts nothing yet.
        Raises UsageError where no cluster is configured.
        """
        return cls(_Official(context, environment, as_user), patience_s=patience_s, ending=ending)

    @property
    def where(self) -> str:
        """The server's address."""
        return self._transport.where

    def version(self) -> str:
        """Return the server's version: v1.34.4."""
        return str(self.ask("GET", "/version", "ask for the version").get("gitVersion", "of unknown version"))

    def resources(self) -> list[Resource]:
        """Return every kind that is served, once, in the version that the server prefers; sorted by name."""
        return sorted(self._discovered, key=lambda resource: resource.name)

    @cached_property
    def _discovered(self) -> list[Resource]:
        groups = [("", "v1", "/api/v1")]
        for group in self.ask("GET", "/apis", "list the API groups")["groups"]:
            preferred = [group["preferredVersion"]["version"]]
            others = [each["version"] for each in group["versions"] if each["version"] not in preferred]
            groups += [
                (group["name"], version, f"/apis/{group['name']}/{version}") for version in preferred + others
            ]
        found: dict[str, Resource] = {}
        for group, version, path in groups:  # a kind that the preferred version lacks comes from another one
            for each in self._served(path):
                if "/" not in each["name"]:  # a subresource
                    resource = Resource(
                        group,
                        version,
                        each["name"],
                        each["kind"],
                        bool(each["namespaced"]),
                        frozenset(each["verbs"]),
                    )
                    found.setdefault(resource.name, resource)
        return list(found.values())

    def _served(self, path: str) -> list[Json]:
        """Return the kinds of one group; none where the server behind an aggregated API is away."""
        try:
            return list(self.ask("GET", path, "list the kinds of a group", patience_s=0)["resources"])
        except (SourceUnavailable, TemporaryFailure) as fault:
            if isinstance(fault, Unauthorized):
                raise
            return []

    def pages(self, resource: Resource, namespace: str | None) -> Iterator[list[Json]]:
        """Yield the objects of a kind, page by page; all are as of one moment unless the listing had to begin anew.

        An object that a page before held comes once. Raises Forbidden, TemporaryFailure.
        """
        seen: set[str] = set()
        token = ""
        doing = f"list {resource.name}" + (f" in namespace {namespace}" if namespace else "")
        while True:
            query = {"limit": PAGE, **({"continue": token} if token else {})}
            try:
                answer = self.ask("GET", f"{resource.path(namespace)}?{urlencode(query)}", doing)
            except ListingExpired:
                token = ""
                continue
            fresh = [item for item in answer.get("items") or [] if item["metadata"]["uid"] not in seen]
            seen.update(item["metadata"]["uid"] for item in fresh)
            yield [
                {"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in fresh
            ]  # items of a list leave out what they are
            token = answer["metadata"].get("continue", "")
            if not token:
                return

    def get(self, resource: Resource, namespace: str | None, name: str) -> Json | None:
        """Return one object, None if it is not there."""
        return (
            self.ask("GET", resource.path(namespace, name), f"get {resource.name} {name}", absent=True)
            or None
        )

    def create(self, resource: Resource, namespace: str | None, body: Json) -> Json:
        """Create an object and return it as it is stored."""
        return self.ask("POST", resource.path(namespace), f"create {resource.name}", body)

    def may(self, verb: str, resource: Resource, namespace: str | None, name: str = "") -> bool:
        """Return whether this user may do verb; `*` for a name means any."""
        wanted = {"verb": verb, "group": resource.group, "resource": resource.plural, "name": name}
        attributes = {**wanted, **({"namespace": namespace} if namespace else {})}
        body = {
            "apiVersion": REVIEWS.api_version,
            "kind": REVIEWS.kind,
            "spec": {"resourceAttributes": attributes},
        }
        return bool(self.create(REVIEWS, None, body)["status"]["allowed"])

    def ask(
        self,
        method: str,
        target: str,
        doing: str,
        body: Json | None = None,
        *,
        patience_s: float | None = None,
        absent: bool = False,
    ) -> Json:
        """Return the JSON of an answer; {} for what is not there, where absent allows that.

        Raises TemporaryFailure once patience is spent; what `refusal` returns at once.
        """
        deadline = time.monotonic() + (self._patience_s if patience_s is None else patience_s)
        pause, renewed = _FIRST_PAUSE_S, False
        while True:
            answer = self._once(method, target, body)
            if isinstance(answer, Answer) and answer.status == 401 and not renewed:  # noqa: PLR2004
                self._transport.renew()
                renewed = True
                continue
            if isinstance(answer, Answer) and not answer.is_busy:
                if absent and answer.status == 404:  # noqa: PLR2004
                    return {}
                return self._value(answer, doing)
            wait = pause if isinstance(answer, str) else answer.retry_after_s or pause
            self._wait(wait, deadline, answer if isinstance(answer, str) else answer.said)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _once(self, method: str, target: str, body: Json | None) -> Answer | str:
        """Return the answer, or why none came."""
        try:
            return self._transport.ask(method, target, body)
        except (OSError, HTTPError) as fault:
            return str(getattr(fault, "reason", None) or fault) or type(fault).__name__

    def _wait(self, seconds: float, deadline: float, why: str) -> None:
        if time.monotonic() + seconds > deadline or self._ending.wait(seconds):
            raise TemporaryFailure(
                f"the API server {self.where} does not answer as it should: {why}",
                hint="See whether the cluster's control plane is up; it was waited for.",
            )

    def _value(self, answer: Answer, doing: str) -> Json:
        if not 200 <= answer.status < 300:  # noqa: PLR2004
            raise refusal(answer, doing, self.where)
        try:
            value: Any = json.loads(answer.body)
        except ValueError as cause:
            raise SourceUnavailable(
                f"{self.where} does not answer like an API server", hint="Look at the address of the cluster."
            ) from cause
        return dict(value)


@dataclass(slots=True)
class _Official:
    """The official client, used for what it knows best: configurations and log-ins."""

    context: str | None
    environment: Mapping[str, str]
    as_user: str = ""
    where: str = field(init=False, default="")
    _api: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        from kubernetes import client, config  # noqa: PLC0415 - takes a second to load, and few commands need it

        settings = client.Configuration()
        settings.retries = False
        try:
            if self.environment.get(_IN_A_POD) and self.context is None:
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            else:
                file = self.environment.get("KUBECONFIG") or None
                load = config.load_kube_config
                load(file, self.context, settings, persist_config=False)  # type: ignore[no-untyped-call]
        except Exception as fault:
            raise UsageError(
                f"no cluster is configured: {' '.join(str(fault).split())}",
                hint="Set KUBECONFIG, or name a context that is in it.",
            ) from fault
        self.where = settings.host
        self._api = client.ApiClient(settings)

    def ask(self, method: str, target: str, body: Json | None) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.as_user:
            headers["Impersonate-User"] = self.as_user
        request = self._api.param_serialize(
            method, target, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        response = self._api.call_api(*request, _request_timeout=(_CONNECT_S, _READ_S))
        received = {str(name).lower(): str(value) for name, value in response.getheaders().items()}
        return Answer(response.status, received, response.read())
