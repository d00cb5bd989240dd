"""Kubernetes' API: plain JSON in and out, patient with a server that is away, plain about refusals."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, Self
from urllib.parse import urlencode

from urllib3.exceptions import HTTPError

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.base import Json
from drtool.sources.kubernetes.discovery import Discovered, discover
from drtool.sources.kubernetes.faults import Answer, ListingExpired, TooLarge, dead_webhook, refusal
from drtool.sources.kubernetes.resource import Page, Resource, fresh
from drtool.sources.kubernetes.transport import Official, Stream, Transport

__all__ = ["Cluster", "Page", "Resource"]

PATIENCE_S = 120.0  # how long a server that is away, or overloaded, is waited for
READY_S = 10.0  # how long a server that does not let us ask whether it is ready is taken for one that starts
PAGE = 500  # objects asked for at once
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0

REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)


class Cluster:
    """A cluster, as one user sees it. Every error of its API becomes one of ours here.

    Leave the context, or call `close`, to let go of the connections.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        patience_s: float = PATIENCE_S,
        ending: threading.Event | None = None,
        assure: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._assure = assure
        self._patience_s = patience_s
        self._ending = ending or threading.Event()
        self._is_settled = False  # whether the server was seen ready, and has answered ever since

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
        return cls(Official(context, environment, as_user), patience_s=patience_s, ending=ending)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fenced(self, assure: Callable[[], None]) -> Self:
        """Return this cluster for who may change it only as long as assure returns: it is asked before each request."""
        return type(self)(self._transport, patience_s=self._patience_s, ending=self._ending, assure=assure)

    def close(self) -> None:
        """Let go of the connections. Whoever asks again gets new ones."""
        self._transport.close()

    @property
    def where(self) -> str:
        """The server's address."""
        return self._transport.where

    @property
    def authority(self) -> str:
        """The fingerprint of the CA that the server is believed by: SHA-256 as hex; "" where none is named."""
        return self._transport.authority

    def version(self) -> str:
        """Return the server's version: v1.34.4."""
        return str(self.ask("GET", "/version", "ask for the version").get("gitVersion", "of unknown version"))

    def resources(self) -> list[Resource]:
        """Return every kind that is served, once, in the version that the server prefers; sorted by name."""
        return list(self._discovered.resources)

    @property
    def unserved(self) -> list[str]:
        """The groups whose kinds nobody can tell: the server behind an aggregated API is away."""
        return list(self._discovered.unserved)

    def forget_kinds(self) -> None:
        """Ask anew which kinds are served, when somebody asks next: more of them may be there now."""
        vars(self).pop("_discovered", None)

    @cached_property
    def _discovered(self) -> Discovered:
        self._settle(time.monotonic() + self._patience_s)
        return discover(self.ask, self.version)

    def pages(self, resource: Resource, namespace: str | None) -> Iterator[Page]:
        """Yield the objects of a kind, page by page; all are as of one moment unless the listing had to begin anew.

        An object that a page before held comes once. Raises Forbidden, Absent, TemporaryFailure.
        """
        seen: set[tuple[str, str]] = set()
        token, limit, is_anew = "", PAGE, False
        doing = f"list {resource.name}" + (f" in namespace {namespace}" if namespace else "")
        while True:
            query = {"limit": limit, **({"continue": token} if token else {})}
            try:
                answer = self.ask("GET", f"{resource.path(namespace)}?{urlencode(query)}", doing)
            except ListingExpired as fault:
                if is_anew:  # and nothing new has come since
                    raise TemporaryFailure(
                        f"cannot {doing}: {fault.message}",
                        hint="The API server forgets listings faster than they can be read; try again.",
                    ) from fault
                token, is_anew = "", True
                continue
            except TooLarge:
                if limit == 1:
                    raise
                limit //= 2
                continue
            page = Page(fresh(answer.get("items") or [], resource, seen))
            page.version = str(answer["metadata"].get("resourceVersion", ""))
            is_anew = is_anew and not page
            yield page
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
        answer = self._patiently(method, target, body, patience_s)
        if absent and answer.status == 404:  # noqa: PLR2004
            return {}
        return self._value(answer, doing)

    def tried(self, method: str, target: str, doing: str, body: Json) -> Answer:
        """Return the answer to what is only tried, be it a refusal. Raises Unauthorized; TemporaryFailure as `ask`."""
        answer = self._patiently(method, target, body, None)
        if answer.status == 401:  # noqa: PLR2004
            raise refusal(answer, doing, self.where)
        return answer

    def text(self, target: str, doing: str, *, patience_s: float | None = None) -> str:
        """Return the text that is at target, as a pod's log is; empty for what is not there, or has not begun."""
        answer = self._patiently("GET", target, None, patience_s)
        if answer.status in (204, 400, 404):
            return ""
        if answer.status != 200:  # noqa: PLR2004
            raise refusal(answer, doing, self.where)
        return answer.body.decode(errors="replace")

    def stream(self, target: str, doing: str) -> Stream:
        """Return an open stream, tried once: what it begins may not run twice.

        Raises what `refusal` returns, TemporaryFailure where the server is away or not itself.
        """
        self._settle(time.monotonic() + self._patience_s)
        self._assure()
        try:
            found = self._transport.stream(target)
        except OSError as fault:
            why = str(fault) or type(fault).__name__
        else:
            if not isinstance(found, Answer):
                return found
            if not found.is_busy:
                raise refusal(found, doing, self.where)
            why = found.said
        raise TemporaryFailure(
            f"cannot {doing}: {why}",
            hint="See whether the API server reaches the node of the pod, and try again.",
        )

    def _patiently(self, method: str, target: str, body: Json | None, patience_s: float | None) -> Answer:
        deadline = time.monotonic() + (self._patience_s if patience_s is None else patience_s)
        pause, is_final = _FIRST_PAUSE_S, False
        while True:
            answer = self._once(method, target, body)
            if isinstance(answer, Answer) and answer.is_denied and not is_final:
                is_final = True
                if self._may_change(answer.status, deadline):
                    continue
            if isinstance(answer, Answer) and not answer.is_busy:
                return answer
            wait = pause if isinstance(answer, str) else answer.retry_after_s or pause
            self._wait(wait, deadline, answer if isinstance(answer, str) else answer.said)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _may_change(self, status: int, deadline: float) -> bool:
        """Return whether a denial may be lifted: by credentials that were renewed, by a server that was starting."""
        if status == 401:  # noqa: PLR2004
            self._transport.renew()
        elif self._is_settled:
            return False
        self._settle(deadline)
        return True

    def _settle(self, deadline: float) -> None:
        """Return once the server is ready: one that starts forbids what it has read no right for, and hides kinds."""
        end = deadline
        while not self._is_settled:
            answer = self._once("GET", "/readyz", None)
            is_denied = isinstance(answer, Answer) and answer.is_denied
            end = min(end, time.monotonic() + READY_S) if is_denied else deadline
            if isinstance(answer, Answer) and not answer.is_busy and not is_denied:
                self._is_settled = True
            elif is_denied and time.monotonic() + _FIRST_PAUSE_S > end:
                self._is_settled = True  # who may not even ask that has to believe what is said
            else:
                self._wait(_FIRST_PAUSE_S, deadline, answer if isinstance(answer, str) else answer.said)

    def _once(self, method: str, target: str, body: Json | None) -> Answer | str:
        """Return the answer, or why none came. What may change something is asked for only where assure lets it."""
        if method != "GET":
            self._assure()
        try:
            answer = self._transport.ask(method, target, body)
        except (OSError, HTTPError) as fault:
            self._is_settled = False
            return str(getattr(fault, "reason", None) or fault) or type(fault).__name__
        self._is_settled = self._is_settled and not answer.is_busy
        return answer

    def _wait(self, seconds: float, deadline: float, why: str) -> None:
        if time.monotonic() + seconds > deadline or self._ending.wait(seconds):
            webhook = dead_webhook(why)
            if webhook:
                raise TemporaryFailure(
                    f"webhook {webhook} does not answer, and nothing gets past it: {why}",
                    hint="Bring its server back, or take away the webhook configuration that names it.",
                )
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
