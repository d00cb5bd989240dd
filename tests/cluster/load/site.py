"""How the site is spoken to: keep-alive connections, one session for all of them, and what an answer means."""

import json
import re
import socket
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Lock
from typing import Any

from drtool.errors import Refused, TemporaryFailure, UsageError

PASSING = (404, 408, 425, 429)  # a proxy whose site is on its way up answers so; other 4xx mean what they say


class Unavailable(TemporaryFailure):
    """The site did not answer, or not now: the same request may be repeated."""


class LoginNeeded(Unavailable):
    """The site does not know our session, or no longer."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the site is. host goes into the Host header, for an Ingress that is reached by its address."""

    url: str
    host: str | None = None
    timeout_s: float = 10

    @property
    def address(self) -> tuple[str, int]:
        """Raises UsageError if the URL is none of ours."""
        found = re.fullmatch(r"http://([^/:]+)(?::(\d+))?/?", self.url)
        if found is None:
            raise UsageError(f"{self.url} is no URL of a site", hint="Write it as http://HOST:PORT.")
        return found[1], int(found[2] or 80)


class Connection:
    """One keep-alive connection for one thread: opened when needed, thrown away after any failure."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._http = HTTPConnection(*site.address, timeout=site.timeout_s)
        self._aborted = False

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        cookie: str = "",
        *,
        passing: Container[int] = PASSING,
    ) -> "Answer":
        """Send one request and return the whole answer.

        Raises Unavailable if there is none, or one that says not now: 5xx, and what is in passing.
        """
        headers = {"Content-Type": "application/octet-stream", "Cookie": cookie}
        if self._site.host:
            headers["Host"] = self._site.host
        try:
            self._open()
            self._http.request(method, path, body, headers)
            response = self._http.getresponse()
            content = response.read()
        except (OSError, HTTPException) as cause:
            self._http.close()
            raise Unavailable(f"{self._site.url} does not answer to {method} {path}: {cause!r}") from cause
        answer = Answer(response.status, content, response.headers.get("Set-Cookie", ""))
        if answer.status == 401:
            raise LoginNeeded("the site asks for a log-in")
        if answer.status >= 500 or answer.status in passing:
            raise Unavailable(f"the site answers {method} {path} with {answer.status} {answer.shown}")
        return answer

    def _open(self) -> None:
        """Connect, unless connected. The flag is read after the socket is there, and abort sets it before it looks
        for one: so whichever comes first, no request outlives an abort.
        """
        if self._http.sock is None:
            self._http.connect()
        if self._aborted:
            raise ConnectionAbortedError

    def abort(self) -> None:
        """End what another thread waits for, now and from now on; that thread then sees Unavailable."""
        self._aborted = True
        if (sock := self._http.sock) is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._http.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    content: bytes
    set_cookie: str = ""

    @property
    def shown(self) -> str:
        """The beginning of the content, on one line."""
        return " ".join(self.content[:200].decode(errors="replace").split())

    def value(self) -> Any:
        """Return the JSON of a success. Raises Refused on a refusal, Unavailable if somebody else answered."""
        if self.status >= 400:
            raise Refused(f"the site refuses: {self.status} {self.shown}")
        try:
            return json.loads(self.content)
        except ValueError as cause:
            raise Unavailable(f"no JSON from the site, but {self.shown}") from cause


@dataclass(slots=True)
class Session:
    """One log-in for all threads, renewed when the site has lost it, as a restored Redis may."""

    user: str
    password: str = field(repr=False)
    _cookie: str = field(default="", repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def cookie(self, connection: Connection) -> str:
        """Return the session's cookie, logging in first if there is none. Raises as Connection.ask, or Refused."""
        with self._lock:
            if not self._cookie:
                body = json.dumps({"username": self.user, "password": self.password}).encode()
                answer = connection.ask("POST", "/login", body)
                answer.value()
                self._cookie = answer.set_cookie.partition(";")[0]
            return self._cookie

    def forget(self, cookie: str) -> None:
        """Log in again next time, unless another thread already has."""
        with self._lock:
            if self._cookie == cookie:
                self._cookie = ""
