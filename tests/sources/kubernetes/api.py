"""An API server of the tests: speaks discovery, lists page by page, and answers as it was told to.

with Api({"/api/v1/namespaces/x/configmaps": [...]}) as api:
    api.tell(429, {"Retry-After": "1"})          # what the next request is answered
"""

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


def status(code: int, message: str) -> Json:
    """Return what an API server says of a failure."""
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


def write_kubeconfig(folder: Path, url: str, token: str = "first", authority: Path | None = None) -> Path:
    """Write a kubeconfig for the server at url, which is believed by a CA if one is given, and return its file."""
    file = folder / "kubeconfig"
    cluster = {"server": url, **({"certificate-authority": str(authority)} if authority else {})}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
    file.write_text(json.dumps(content))
    return file


class Api:
    """Serves collections by path: lists of objects; and plain answers by path. Notes what was asked."""

    def __init__(
        self,
        collections: Mapping[str, list[Json]],
        answers: Mapping[str, Any] | None = None,
        tls: Path | None = None,
    ) -> None:
        """Take what is served: an answer to a POST may be made of what was sent.

        tls is a file with a key and its certificate, where it is to be spoken.
        """
        self.collections, self.answers = dict(collections), dict[str, Any](answers or {})
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.created: list[Json] = []
        self.tried: list[Json] = []
        self.tries: Callable[[Json], tuple[int, str] | None] = lambda _item: None  # how a dry run is refused
        self.page = 2
        self.expire_tokens = 0  # how many continue tokens are to be refused as expired
        self.forbidden: set[str] = set()  # paths
        self.away: set[str] = set()  # paths behind which another server is, which is not there
        self.starting = self.denying = (
            0  # how often it is asked until it is ready, and whether that may be asked
        )
        self.readiness = 200
        self.gone: Callable[[], bool] = lambda: False  # whether it hangs up on who asks, as behind a cut
        self.patience = 60  # seconds that those who ask for what is away are told to wait
        self._connected: set[object] = set()
        self._changed = threading.Condition()
        self._told: deque[tuple[int, Mapping[str, str], Json]] = deque()
        self._scheme = "https" if tls else "http"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def tell(self, code: int, headers: Mapping[str, str] | None = None, message: str = "told so") -> None:
        """Have the next request that nothing was told about answered so; but not whether it is ready."""
        self._told.append((code, headers or {}, status(code, message)))

    def is_left(self, within_s: float) -> bool:
        """Return whether every client lets go of its connections within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connected, within_s)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def kubeconfig(self, folder: Path, token: str = "first") -> Path:
        """Write a kubeconfig for this server, and return its file."""
        return write_kubeconfig(folder, self.url, token)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Mapping[str, str], Json]:
        if target == "/readyz":
            return self._ready()
        self.asked.append(f"{method} {target}")
        if self._told:
            return self._told.popleft()
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        answer = self._refused(method, path) or (
            self._dry(path, json.loads(body)) if "dryRun" in query else None
        )
        if answer is not None:
            return answer
        if method == "POST":
            self.created.append(json.loads(body))
            more = self.answers.get(path, {})
            return 201, {}, {**self.created[-1], **(more(self.created[-1]) if callable(more) else more)}
        return self._listed(path, query) if path in self.collections else self._found(path)

    def _dry(self, path: str, sent: Json) -> tuple[int, Mapping[str, str], Json]:
        """Say to a dry run what the write would be told; nothing is kept."""
        self.tried.append(sent)
        within = path.partition("/namespaces/")[2].split("/")
        there = {each["metadata"]["name"] for each in self.collections.get("/api/v1/namespaces", [])}
        refused = self.tries(sent)
        if refused is None and len(within) > 1 and within[0] not in {*there, "default"}:
            refused = 404, f'namespaces "{within[0]}" not found'
        return (refused[0], {}, status(*refused)) if refused else (200, {}, sent)

    def _ready(self) -> tuple[int, Mapping[str, str], Json]:
        if self.starting:
            self.starting -= 1
            return 500, {}, status(500, "[-]informer-sync failed")
        if self.denying:
            self.denying -= 1
            return 403, {}, status(403, "RBAC: no rights were read yet")
        return self.readiness, {}, {"raw": "ok"}

    def _found(self, path: str) -> tuple[int, Mapping[str, str], Json]:
        folder, _, name = path.rpartition("/")
        found = [each for each in self.collections.get(folder, []) if each["metadata"]["name"] == name]
        if found or path in self.answers:
            return 200, {}, found[0] if found else self.answers[path]
        return 404, {}, status(404, f"{path} is not there")

    def _refused(self, method: str, path: str) -> tuple[int, Mapping[str, str], Json] | None:
        if path in self.forbidden:
            return 403, {}, status(403, f'User "me" cannot {method} {path}')
        if path in self.away:
            message = "the server is currently unable to handle the request"
            return 503, {"Retry-After": str(self.patience)}, status(503, message)
        return None

    def _listed(self, path: str, query: Mapping[str, list[str]]) -> tuple[int, Mapping[str, str], Json]:
        begin = int(query.get("continue", ["0"])[0])
        if begin and self.expire_tokens:
            self.expire_tokens -= 1
            return 410, {}, status(410, "The provided continue parameter is too old")
        limit = min(self.page, int(query["limit"][0]))
        items = self.collections[path]
        rest = str(begin + limit) if begin + limit < len(items) else ""
        return (
            200,
            {},
            {"metadata": {"resourceVersion": "7", "continue": rest}, "items": items[begin : begin + limit]},
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                with api._changed:
                    api._connected.add(self.client_address)

            def finish(self) -> None:
                super().finish()
                with api._changed:
                    api._connected.discard(self.client_address)
                    api._changed.notify_all()

            def _speak(self) -> None:
                api.tokens.append(self.headers.get("Authorization", ""))
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if api.gone():
                    self.close_connection = True
                    return
                code, headers, value = api._answer(self.command, self.path, body)
                content = value["raw"].encode() if "raw" in value else json.dumps(value).encode()
                if code == HTTPStatus.NO_CONTENT:
                    content = b""  # bytes of one would be read as the head of the next answer
                self.send_response(code)
                for name, said in headers.items():
                    self.send_header(name, said)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _speak  # noqa: N815 - their names there

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                pass

        return Handler


def config_map(name: str, **data: str) -> Json:
    """Return a ConfigMap as a list holds it."""
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "1"},
        "data": data,
    }
