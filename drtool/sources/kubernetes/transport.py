"""The one door to Kubernetes' official client: where clusters are, how to log in, and one request at a time.

Its models are left alone, for they know no kinds but their own, and take more room than what they hold.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any, Final, Protocol

from drtool.errors import UsageError
from drtool.sources.base import Json
from drtool.sources.kubernetes.faults import Answer, TooLarge, broken_connection

_JSON: Final = "application/json"
LONGEST = 8 * 1024 * 1024  # bytes of an answer: in memory it takes several times that
_CONNECT_S, _READ_S = 5.0, 60.0
_CLOSED: Final = 8  # RFC 6455, 5.5.1
_CLOSE_S: Final = 1.0
_CERTIFICATE: Final = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_IN_A_POD: Final = "KUBERNETES_SERVICE_HOST"  # what kubelet gives every container


def is_in_pod(environment: Mapping[str, str]) -> bool:
    """Return whether this is a container of a pod, whose cluster is that of its service account."""
    return bool(environment.get(_IN_A_POD))


class Stream(Protocol):
    """What the API server sends piece by piece, each behind a byte that says its channel."""

    def receive(self, timeout_s: float) -> bytes:
        """Return the next piece; nothing if none came in time. Raises OSError once it has ended or broken."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class Transport(Protocol):
    """How one request reaches the API server."""

    where: str
    authority: str

    def ask(self, method: str, target: str, body: Json | None) -> Answer:
        """Return the answer to one request. Raises OSError or urllib3's HTTPError where none came."""
        ...

    def stream(self, target: str) -> "Stream | Answer":
        """Return an open stream; the answer of a server that gives none. Raises OSError where none came."""
        ...

    def renew(self) -> None:
        """Read the credentials again, for they may have been renewed."""
        ...

    def close(self) -> None:
        """Let go of the connections; the next request makes a new one."""
        ...


@dataclass(slots=True)
class Official:
    """The official client, used for what it knows best: configurations and log-ins."""

    context: str | None
    environment: Mapping[str, str]
    as_user: str = ""
    where: str = field(init=False, default="")
    authority: str = field(init=False, default="")
    _api: Any = field(init=False, default=None)
    _refused: type[Exception] = field(init=False, default=Exception)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        from kubernetes import client, config  # noqa: PLC0415 - takes a second to load, and few commands need it

        settings = client.Configuration()
        settings.retries = False
        try:
            if is_in_pod(self.environment) and self.context is None:
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
        self.close()
        self.where = settings.host
        self.authority = _fingerprint(settings.ssl_ca_cert) if settings.verify_ssl else ""
        self._api = client.ApiClient(settings)
        self._refused = client.ApiException

    def close(self) -> None:
        if self._api is not None:
            self._api.rest_client.pool_manager.clear()  # its own close() ends threads, and no connection

    def ask(self, method: str, target: str, body: Json | None) -> Answer:
        headers = {"Accept": f"{_JSON}, */*", "Content-Type": _content_type(method, target)}
        if self.as_user:
            headers["Impersonate-User"] = self.as_user
        request = self._api.param_serialize(
            method, target, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = self._api.call_api(*request, _request_timeout=(_CONNECT_S, _READ_S))
        except self._refused as cause:  # so it tells what became of TLS
            raise broken_connection(str(cause), self.where) from cause
        received = {str(name).lower(): str(value) for name, value in response.getheaders().items()}
        content = response.response.read(LONGEST + 1)
        if len(content) > LONGEST:
            response.response.close()
            raise TooLarge(
                f"an answer of the API server {self.where} is longer than {LONGEST >> 20} MiB",
                hint="An object of that kind is too large to be held: leave its kind out with `exclude`.",
            )
        return Answer(response.status, received, content)

    def stream(self, target: str) -> Stream | Answer:
        from kubernetes.stream import ws_client  # noqa: PLC0415 - as above
        from websocket import WebSocketBadStatusException, WebSocketException  # noqa: PLC0415

        _, url, headers, *_ = self._api.param_serialize("GET", target, auth_settings=["BearerToken"])
        address = ws_client.get_websocket_url(url)  # type: ignore[no-untyped-call]
        named = {name.lower(): value for name, value in headers.items()}
        try:
            socket = ws_client.create_websocket(self._api.configuration, address, named)  # type: ignore[no-untyped-call]
        except WebSocketBadStatusException as refused:
            return Answer(refused.status_code, {}, refused.resp_body or b"")
        except WebSocketException as cause:
            raise ConnectionError(str(cause)) from cause
        return _Socket(socket)


def _fingerprint(file: str | None) -> str:
    """Return the SHA-256 of the CA in a file, as `openssl x509 -fingerprint` has it; of several, that of theirs."""
    try:
        text = Path(file).read_text(encoding="ascii", errors="ignore") if file else ""
        found = sorted(sha256(PEM_cert_to_DER_cert(each)).hexdigest() for each in _CERTIFICATE.findall(text))
    except (OSError, ValueError):  # who asks the server is told what is wrong with it
        return ""
    return found[0] if len(found) == 1 else sha256("".join(found).encode()).hexdigest() if found else ""


@dataclass(slots=True)
class _Socket:
    """A stream over the WebSocket of the official client's own library."""

    _socket: Any

    def receive(self, timeout_s: float) -> bytes:
        from websocket import WebSocketException, WebSocketTimeoutException  # noqa: PLC0415 - as above

        self._socket.settimeout(timeout_s)
        try:
            kind, data = self._socket.recv_data()
        except WebSocketTimeoutException:
            return b""
        except WebSocketException as cause:
            raise ConnectionError(str(cause)) from cause
        if kind == _CLOSED:
            raise ConnectionError("it ended without a word of how")
        return bytes(data)

    def close(self) -> None:
        self._socket.close(timeout=_CLOSE_S)


def _content_type(method: str, target: str) -> str:
    """Return of which type a request's body is: a PATCH that names a field manager applies, any other one merges."""
    if method != "PATCH":
        return _JSON
    return "application/apply-patch+yaml" if "fieldManager=" in target else "application/merge-patch+json"
