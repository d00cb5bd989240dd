"""What every smoke test does: visit a system through its Ingress, and find everything as it was left.

visitor = Visitor.of(TINY, cluster)
visit(visitor)
"""

import json
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4

from tests.cluster.cluster import Cluster
from tests.cluster.load.site import Answer, Connection, LoginNeeded, Session, Site, Unavailable
from tests.cluster.system import System

PATIENCE_S = 60  # of a visitor who is told to come back later
PAUSE_S = 0.3


@dataclass(frozen=True)
class Visitor:
    """Somebody with one session, who comes back when told to.

    Requests are safe to repeat, for we name what we write.
    """

    site: Site
    session: Session

    @classmethod
    def of(cls, system: System, cluster: Cluster) -> "Visitor":
        """Return the system's superuser, before its Ingress."""
        return cls(system.site(cluster), system.session(cluster))

    def log_in(self) -> str:
        """Return the cookie of the session: the same as before, unless the site has lost the session since."""
        with closing(Connection(self.site)) as connection:
            return self.session.cookie(connection)

    def write_post(self, text: str) -> str:
        """Return the id of a new post, which is committed."""
        id_ = str(uuid4())
        self._write("/posts", json.dumps({"id": id_, "text": text}).encode())
        return id_

    def read_post(self, id_: str) -> str:
        """Return the text of a post; waits for replicas that have it not yet."""
        return str(self.get(f"/posts/{id_}").value()["text"])

    def upload(self, content: bytes) -> str:
        """Return where the uploaded file is to be had, a path that begins with /media/."""
        stored = self._write(f"/uploads?id={uuid4()}", content).value()
        assert stored["sha256"] == sha256(content).hexdigest()
        return f"/media/{stored['path']}"

    def begin_task(self, id_: str | None = None) -> str:
        """Return the id of a task whose message is in the queue; a task may be begun again, by its id."""
        id_ = id_ or str(uuid4())
        self._write("/tasks", json.dumps({"id": id_}).encode())
        return id_

    def wait_for_task(self, id_: str) -> None:
        """Return once a worker has done the task, which ends as a row in PostgreSQL.

        One that is not done within a minute is begun again, as a person would, and a warning says so: Celery's
        transport loses a message that Redis gave to a worker who went away before it noted it.
        """
        try:
            done = self.get(f"/tasks/{id_}")
        except Unavailable as late:
            warnings.warn(f"begun again: {late.message}", stacklevel=2)
            done = self.get(f"/tasks/{self.begin_task(id_)}")
        assert done.value()["done_at"]

    def get(self, path: str) -> Answer:
        """Return the answer to a request that needs no session."""
        return read_page(self.site, path)

    def _write(self, path: str, body: bytes) -> Answer:
        def ask(connection: Connection) -> Answer:
            cookie = self.session.cookie(connection)
            try:
                answer = connection.ask("POST", path, body, cookie)
            except LoginNeeded:
                self.session.forget(cookie)
                raise
            answer.value()
            return answer

        return _patiently(self.site, ask)


def visit(visitor: Visitor) -> None:
    """Log in, write, upload, read back, have a task done. Raises where something is not as it was left."""
    post = visitor.write_post("We met at the well.\n\nThe water was ünusually clear.")
    picture = visitor.upload(bytes(range(256)) * 400)
    task = visitor.begin_task()
    assert visitor.read_post(post) == "We met at the well.\n\nThe water was ünusually clear."
    assert visitor.get(picture).content == bytes(range(256)) * 400
    visitor.wait_for_task(task)
    assert "<h1>" in visitor.get("/").content.decode()


def read_page(site: Site, path: str = "/") -> Answer:
    """Return the answer to a request that needs no session."""
    return _patiently(site, lambda connection: connection.ask("GET", path))


def _patiently(site: Site, ask: Callable[[Connection], Answer]) -> Answer:
    """Return what ask returns, once nothing passing is in the way. Raises Unavailable after a minute."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            with closing(Connection(site)) as connection:
                return ask(connection)
        except Unavailable:
            if time.monotonic() > end:
                raise
        time.sleep(PAUSE_S)
