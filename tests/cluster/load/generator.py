"""The load generator: users who post, upload and order tasks at a steady pace, and note what they were told.

    with LedgerFile(path) as ledger:
        generator = Generator(Site("http://10.250.1.11", "app.gic6.k3s"), Session(user, password), ledger)
        generator.start()
        ...
        generator.stop()          # or abort(), which leaves requests unanswered

A write that fails is repeated with the same identity and content until it is acknowledged or the generator ends: so
whatever the ledger has as begun only is in doubt, and nothing else is.
"""

import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from threading import Event, Lock, Thread
from uuid import uuid4

from drtool.errors import DrtoolError
from tests.cluster.load.ledger import Kind, LedgerFile
from tests.cluster.load.site import Connection, LoginNeeded, Session, Site, Unavailable

PACE: Mapping[Kind, float] = {"posts": 50, "uploads": 5, "tasks": 2}  # writes a second
SLOWEST_WRITE_S = 0.1  # so many threads that writes this slow do not slow the pace
BURST_S = 1.0  # what a stalled site made us miss is made up for this long, no longer
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
GRACE_S = 5.0  # for requests that are on their way when the generator stops
CLOSING_S = 1.0  # for threads whose connection was cut; one that still connects is left behind
WORDS = ("a", "backup", "that", "nobody", "has", "restored", "is", "hope", "and", "no", "plan")
UPLOAD_BYTES = (4 << 10, 64 << 10)  # the smallest, the largest


class Pacer:
    """Gives out moments at a steady rate, to several threads."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap = 1 / rate
        self._clock = clock
        self._next = clock()
        self._lock = Lock()

    def wait_s(self) -> float:
        """Take the next moment, and return how long it is until then; not above 0 if it is past."""
        with self._lock:
            now = self._clock()
            moment = max(self._next, now - BURST_S)
            self._next = moment + self._gap
            return moment - now


@dataclass(frozen=True, slots=True)
class Request:
    """One write, ready to be sent any number of times. expects is what the answer must say."""

    path: str
    body: bytes
    expects: Mapping[str, str]
    sha256: str = ""


def compose(kind: Kind, identity: str, upload_bytes: tuple[int, int] = UPLOAD_BYTES) -> Request:
    """Return the write of that identity, always with the same content."""
    if kind == "posts":
        text = f"Post {identity}. " + " ".join(random.Random(identity).choices(WORDS, k=60))
        body = json.dumps({"id": identity, "text": text}).encode()
        return Request("/posts", body, {"id": identity}, sha256(text.encode()).hexdigest())
    if kind == "uploads":
        chance = random.Random(identity)
        body = chance.randbytes(chance.randint(*upload_bytes))
        digest = sha256(body).hexdigest()
        return Request(f"/uploads?id={identity}", body, {"id": identity, "sha256": digest}, digest)
    return Request("/tasks", json.dumps({"id": identity}).encode(), {"id": identity})


class Generator:
    """Threads that write at a pace until they are told to stop."""

    def __init__(
        self,
        site: Site,
        session: Session,
        ledger: LedgerFile,
        pace: Mapping[Kind, float] = PACE,
        upload_bytes: tuple[int, int] = UPLOAD_BYTES,
    ) -> None:
        """pace is in writes a second; a kind at 0 is not written. Raises UsageError if the site's URL is none."""
        self._session, self._ledger, self._upload_bytes = session, ledger, upload_bytes
        self._stopped, self._lock = Event(), Lock()
        self._acknowledged: Counter[Kind] = Counter()
        self._repeated: Counter[Kind] = Counter()
        self._failure: DrtoolError | OSError | None = None
        self._begun_at = self._ended_at = 0.0
        self.last_trouble = ""
        self._connections: list[Connection] = []
        self._threads: list[Thread] = []
        for kind, rate in pace.items():
            pacer = Pacer(rate) if rate else None
            for _ in range(math.ceil(rate * SLOWEST_WRITE_S) + 1 if pacer else 0):
                connection = Connection(site)
                self._connections.append(connection)
                self._threads.append(
                    Thread(
                        target=self._work, name=f"load: {kind}", args=(kind, pacer, connection), daemon=True
                    )
                )

    def start(self) -> None:
        """Begin to write."""
        self._begun_at = time.monotonic()
        for thread in self._threads:
            thread.start()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to end, or had to."""
        return self._stopped.is_set()

    def wait(self, seconds: float) -> None:
        """Return after seconds, or at once when the generator has stopped."""
        self._stopped.wait(seconds)

    def stop(self) -> None:
        """Begin no more writes, wait shortly for those on their way, end. Raises Refused if the site refused one."""
        self._end(GRACE_S)

    def abort(self) -> None:
        """End at once: what is on its way stays in doubt."""
        self._end(0)

    def _end(self, grace_s: float) -> None:
        self._ended_at = self._ended_at or time.monotonic()
        self._stopped.set()
        self._join(grace_s)
        for connection in self._connections:
            connection.abort()
        self._join(CLOSING_S)
        if self._failure:
            raise self._failure

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def achieved(self) -> dict[Kind, dict[str, float]]:
        """Return for each kind how many writes were acknowledged, how many a second, how often one was repeated."""
        seconds = max((self._ended_at or time.monotonic()) - self._begun_at, 1e-9)
        with self._lock:
            return {
                kind: {
                    "acknowledged": self._acknowledged[kind],
                    "a_second": round(self._acknowledged[kind] / seconds, 2),
                    "repeated": self._repeated[kind],
                }
                for kind in PACE
            }

    def _work(self, kind: Kind, pacer: Pacer, connection: Connection) -> None:
        try:
            while not self._stopped.wait(max(0.0, pacer.wait_s())):
                self._write(kind, connection)
        except (DrtoolError, OSError) as failure:  # told to whoever stops the generator
            self._failure = failure
            self._stopped.set()
        finally:
            connection.close()

    def _write(self, kind: Kind, connection: Connection) -> None:
        """Send one write until it is acknowledged or the generator stops. Raises Refused."""
        identity = str(uuid4())
        request = compose(kind, identity, self._upload_bytes)
        self._ledger.begin(kind, identity, request.sha256)
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._send(request, connection)
            except Unavailable as trouble:
                with self._lock:
                    self._repeated[kind] += 1
                    self.last_trouble = trouble.message
            else:
                self._ledger.acknowledge(kind, identity)
                with self._lock:
                    self._acknowledged[kind] += 1
                return
            if self._stopped.wait(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _send(self, request: Request, connection: Connection) -> None:
        """Return once the site has acknowledged the request. Raises Unavailable, Refused."""
        cookie = self._session.cookie(connection)
        try:
            said = connection.ask("POST", request.path, request.body, cookie).value()
        except LoginNeeded:
            self._session.forget(cookie)
            raise
        if not isinstance(said, dict) or not request.expects.items() <= said.items():
            raise Unavailable("the answer is about another write")
