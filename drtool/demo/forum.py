"""The forum's PostgreSQL side: a schema, members and threads, and writers that post until the server is gone."""

import contextlib
import itertools
import random
import threading
from collections.abc import Callable
from datetime import datetime

import psycopg

from drtool.demo.ledger import Ledger, Post
from drtool.demo.servers.postgres import PostgresServer
from drtool.errors import DrtoolError

DATABASE = "forum"
ROLE = "drtool"
MEMBERS, THREADS, POSTS = 200, 100, 5_000
WRITERS = 4
PAUSE_S = 0.01  # between two posts of a writer: the machine is to stay usable
BETWEEN_S = 0.005  # around a moment that is remembered: no commit shares its microsecond

PHRASES = (
    "I saw that too,",
    "it broke again,",
    "nobody answered,",
    "have you tried tea,",
    "thank you,",
    "see below,",
)

SCHEMA = """
create table member (id int primary key, name text not null);
create table thread (id int primary key, title text not null, author int not null references member);
create table post (id int primary key, thread int not null references thread,
                   author int not null references member, body text not null);
"""
PEOPLE = "insert into member select i, 'member ' || i from generate_series(1, %s) i"
TOPICS = "insert into thread select i, 'thread ' || i, 1 + i %% %s from generate_series(1, %s) i"
INSERT = "insert into post (id, thread, author, body) values (%s, %s, %s, %s)"


class Forum:
    """The forum on one server. What it is told was committed goes into ledger."""

    def __init__(self, server: PostgresServer, clock: Callable[[], datetime]) -> None:
        self.ledger = Ledger()
        self._server = server
        self._clock = clock
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._locks = [threading.Lock() for _ in range(WRITERS)]
        self._threads = [
            threading.Thread(target=self._write, args=(lock,), daemon=True) for lock in self._locks
        ]

    def create(self, role_password: str) -> None:
        """Make the role that drtool connects as, the database, and what stands in it at the beginning."""
        self._server.sql(f"create role {ROLE} login replication password '{role_password}'")
        self._server.sql(f"create database {DATABASE}")
        with self._connect() as connection:
            connection.execute(SCHEMA)
            connection.execute(PEOPLE, [MEMBERS])
            connection.execute(TOPICS, [MEMBERS, THREADS])
            posts = [self._next_post() for _ in range(POSTS)]
            with connection.cursor() as cursor:
                cursor.executemany(INSERT, posts)
            connection.commit()
        for post in posts:
            self.ledger.acknowledge(post, self._clock())

    def open(self) -> None:
        """Let the writers begin."""
        for thread in self._threads:
            thread.start()

    def quiet_moment(self) -> datetime:
        """Return a moment at which no commit is under way, so that it divides them exactly."""
        with contextlib.ExitStack() as stack:
            for lock in self._locks:
                stack.enter_context(lock)
            self._stop.wait(BETWEEN_S)
            moment = self._clock()
            self._stop.wait(BETWEEN_S)
            return moment

    def check_open(self) -> None:
        """Raise DrtoolError if a writer has ended: then nothing is to be learnt from what it would have lost."""
        if not all(thread.is_alive() for thread in self._threads):
            raise DrtoolError("a writer of the forum ended before its server was killed")

    def close(self) -> None:
        """End the writers; silent where their server was killed under them."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _write(self, lock: threading.Lock) -> None:
        """Post until told to stop, or until the server is gone: what it did not acknowledge is not in the ledger."""
        with contextlib.suppress(psycopg.OperationalError), self._connect(autocommit=True) as connection:
            while not self._stop.wait(PAUSE_S):
                post = self._next_post()
                with lock:
                    connection.execute(INSERT, post)
                    self.ledger.acknowledge(post, self._clock())

    def _connect(self, *, autocommit: bool = False) -> psycopg.Connection:
        settings = self._server.settings
        return psycopg.connect(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=self._server.password,
            dbname=DATABASE,
            autocommit=autocommit,
        )

    def _next_post(self) -> Post:
        body = " ".join(random.choices(PHRASES, k=6))  # noqa: S311 - prose, not a secret
        number = next(self._numbers)
        return Post(number, 1 + number % THREADS, 1 + number % MEMBERS, body)


def read_posts(server: PostgresServer) -> list[Post]:
    """Return all posts that a server holds."""
    return [Post(*row) for row in server.sql("select id, thread, author, body from post", dbname=DATABASE)]


def read_rest(server: PostgresServer) -> list[object]:
    """Return all members and threads that a server holds, in order."""
    tables = ("member", "thread")
    return [server.sql(f"select * from {table} order by id", dbname=DATABASE) for table in tables]  # noqa: S608
