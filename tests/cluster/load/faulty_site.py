"""A site of the standard library alone, that fails on purpose: what the load generator is tried against.

It answers as tests/cluster/app does, keeps everything in memory, and goes wrong at the writes that it is told to.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

PASSWORD = "a-password"
PAGE = 7  # few, so that a small inventory has several pages


class Server(ThreadingHTTPServer):
    """Takes the connections of all the generator's threads at once: the default of 5 resets some."""

    request_queue_size = 128
    daemon_threads = True


@dataclass
class FaultySite:
    """What the site has, and how it goes wrong: at every n-th write, for each n in faults."""

    faults: dict[int, Callable[["Handler"], None]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"posts": [], "uploads": [], "tasks": []}
    )
    files: dict[str, bytes] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)
    logins: int = 0
    writes: int = 0
    hosts: set[str | None] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)
    url: str = ""

    @contextmanager
    def serve(self) -> Iterator["FaultySite"]:
        """Serve on a free port of loopback until the block ends."""

        class Bound(Handler):
            site = self

        server = Server(("127.0.0.1", 0), Bound)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    site: FaultySite
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        url = urlsplit(self.path)
        with self.site.lock:
            self.site.hosts.add(self.headers["Host"])
            if url.path == "/login":
                return self.log_in(json.loads(body))
            if self.headers["Cookie"] not in self.site.sessions:
                return self.answer(401, {"error": "log in first"})
            self.site.writes += 1
            fault = next((fault for n, fault in self.site.faults.items() if self.site.writes % n == 0), None)
            self.kind = url.path.strip("/")
            self.row = self.compose(parse_qs(url.query), body)
            return fault(self) if fault else self.answer(self.store(), self.row)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/inventory":
            rows = sorted(self.site.rows[query["kind"]], key=lambda row: str(row["id"]))
            rows = [row for row in rows if row["id"] > query.get("after", "")]
            page = rows[:PAGE]
            return self.answer(200, {"writes": page, "next": page[-1]["id"] if len(rows) > PAGE else None})
        file = self.site.files.get(url.path)
        return self.answer(404, {}) if file is None else self.answer(200, file)

    def log_in(self, body: dict[str, str]) -> None:
        if body["password"] != PASSWORD:
            return self.answer(403, {"error": "no such user, or another password"})
        self.site.logins += 1
        session = f"sessionid={self.site.logins}"
        self.site.sessions.add(session)
        return self.answer(200, {"user": body["username"]}, {"Set-Cookie": f"{session}; HttpOnly; Path=/"})

    def compose(self, query: dict[str, list[str]], body: bytes) -> dict[str, Any]:
        if self.kind == "uploads":
            path = f"uploads/{query['id'][0]}"
            self.site.files[f"/media/{path}"] = body
            return {"id": query["id"][0], "sha256": sha256(body).hexdigest(), "path": path}
        value = json.loads(body)
        digest = {"sha256": sha256(value["text"].encode()).hexdigest()} if "text" in value else {"runs": 1}
        return {"id": value["id"], **digest}

    def store(self) -> int:
        """Keep the row, once; return the status that says whether it was new."""
        if self.row in self.site.rows[self.kind]:
            return 200
        self.site.rows[self.kind].append(self.row)
        return 201

    def answer(
        self, status: int, content: dict[str, Any] | bytes, headers: dict[str, str] | None = None
    ) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it)
        """Say nothing."""


def refuse(handler: Handler) -> None:
    """Write nothing, and say so."""
    handler.answer(503, {"error": "try again"})


def hang_up(handler: Handler) -> None:
    """Write nothing, and close the connection."""
    handler.close_connection = True


def write_and_hang_up(handler: Handler) -> None:
    """Write, and close the connection before the answer."""
    handler.store()
    handler.close_connection = True


def write_and_cut_the_answer(handler: Handler) -> None:
    """Write, and close the connection amid the answer."""
    handler.store()
    handler.send_response(201)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"id": "')
    handler.close_connection = True


def answer_as_another(handler: Handler) -> None:
    """Let somebody in between answer with a page of its own."""
    handler.answer(200, b"<h1>Welcome to nginx!</h1>")


def answer_about_another(handler: Handler) -> None:
    """Write nothing, and acknowledge what nobody asked for."""
    handler.answer(201, {**handler.row, "id": "another"})


def forget_sessions(handler: Handler) -> None:
    """Lose all sessions, as a Redis that came back empty."""
    handler.site.sessions.clear()
    handler.answer(401, {"error": "log in first"})


def store_twice(handler: Handler) -> None:
    """Write the same row two times, and acknowledge it."""
    handler.site.rows[handler.kind] += [handler.row, handler.row]
    handler.answer(201, handler.row)


def forget(handler: Handler) -> None:
    """Acknowledge a row that is not written."""
    handler.answer(201, handler.row)


def conflict(handler: Handler) -> None:
    """Refuse for good."""
    handler.answer(409, {"id": handler.row["id"]})


def never_answer(handler: Handler) -> None:
    """Write, and keep the client waiting until it hangs up."""
    handler.store()
    handler.site.lock.release()
    try:
        handler.rfile.read(1)
    finally:
        handler.site.lock.acquire()
        handler.close_connection = True
