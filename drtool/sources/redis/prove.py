"""Proves a restored data directory: servers are started on copies of it and asked for what the RDB says.

First as the replica of a master that is nowhere: such a server keeps keys whose time has passed, so that every key
can be counted. Then as the target will start it, log on and log off, and again after a kill.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from drtool.sources.base import STREAM_CHUNK, Proof, Target
from drtool.sources.redis import compare
from drtool.sources.redis.connection import Connection
from drtool.sources.redis.layout import Layout, is_multi_part
from drtool.sources.redis.rdb.census import Census
from drtool.sources.redis.rdb.checksum import Checksum
from drtool.sources.redis.rdb.parser import Rdb
from drtool.sources.redis.server import ScratchServer, copy_tree, end_left, find_server
from drtool.sources.scratch import ScratchFolder, clear_left_trees

DEFAULT_DATABASES = 16
EXPIRE_S = 60.0  # the expired keys of a log are loaded, and then removed, some 100,000 a second
PAUSE_S = 0.05
_COPY = ".drtool-copy-"  # not that of versions whose folders have no lock


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The servers that a proof starts: which program, over copies of which directory, with which names."""

    target: Target
    layout: Layout
    program: Path
    version: tuple[int, int]
    databases: int

    @contextmanager
    def server(self, **settings: str) -> Iterator[ScratchServer]:
        """Start a server on a copy of the target's directory."""
        layout = self.layout
        settings |= {"dbfilename": layout.dbfilename, "appendfilename": layout.appendfilename}
        settings |= {"databases": str(self.databases), "aof-load-truncated": "no"}
        if is_multi_part(self.version):
            settings["appenddirname"] = layout.appenddirname
        with _copy_of(self.target, layout) as copy, ScratchServer(self.program, copy, settings) as server:
            yield server


def prove(target: Target, facts: Mapping[str, Any]) -> Iterator[Proof]:
    """Yield the proofs; nothing in the target's directory is changed.

    facts are those of the capture. options, beside those of restore: server (path of a redis-server), databases,
    seed (of the sample; the replication id and offset if it is not given). Raises NotProven where no server starts,
    Corrupt where the RDB cannot be read.
    """
    _clear_left(target)
    layout = Layout.of(facts["server"], target.options)
    rdb = target.directory / layout.dbfilename
    yield _checksum(rdb, str(facts["crc"]))
    program, version = find_prover(target, facts)
    rehearsal = Rehearsal(target, layout, program, version, _databases(target, facts))
    seed = str(target.options.get("seed") or f"{facts['replid']}:{facts['offset']}")

    with rehearsal.server(appendonly="no", replicaof="127.0.0.1 1") as server:
        census, functions = take_census(rdb, compare.clock_ms(server.connection), seed)
        yield compare.all_keys(server.connection, census)
        yield compare.kinds(server.connection, census)
        yield compare.expiries(server.connection, census, exact=is_multi_part(version))
        yield compare.values(server.connection, census, seed)
        if is_multi_part(version):
            yield compare.functions(server.connection, functions)
    for appendonly in [layout.appendonly] if layout.appendonly else ["yes", "no"]:
        with rehearsal.server(appendonly=appendonly) as server:
            yield settled(server.connection, census, f"with appendonly {appendonly}")
            server.kill_and_restart()
            yield settled(
                server.connection, census, f"with appendonly {appendonly}, after a kill and a restart"
            )


def find_prover(target: Target, facts: Mapping[str, Any]) -> tuple[Path, tuple[int, int]]:
    """Return the server program that proofs would be made with. Raises NotProven where there is none."""
    given = target.options.get("server")
    layout = Layout.of(facts["server"], target.options)
    return find_server(layout, facts["rdb_version"], Path(given) if given else None)


def take_census(rdb: Path, now_ms: int, seed: str) -> tuple[Census, list[bytes]]:
    """Read an RDB through; return its census and its functions."""
    census = Census(now_ms, blake2b(seed.encode(), digest_size=32).digest())
    with rdb.open("rb") as file:
        parsed = Rdb(iter(lambda: file.read(STREAM_CHUNK), b""), census.wanted_size)
        for record in parsed.records():
            census.add(record)
    return census, parsed.functions


def _checksum(rdb: Path, captured: str) -> Proof:
    checksum = Checksum()
    with rdb.open("rb") as file:
        for data in iter(lambda: file.read(STREAM_CHUNK), b""):
            checksum.update(data)
    actual = checksum.finish()
    return Proof("checksum of the RDB", actual == captured, captured, actual)


def settled(connection: Connection, census: Census, when: str) -> Proof:
    """Return the proof once no expired key is left: a log's are loaded, and removed after the start."""
    end = time.monotonic() + EXPIRE_S
    while compare.has_surplus(connection, census) and time.monotonic() < end:
        time.sleep(PAUSE_S)
    return compare.alive_keys(connection, census, when)


def _databases(target: Target, facts: Mapping[str, Any]) -> int:
    """Return how many databases the target has. Where nobody says, enough for the keys that were seen."""
    said = target.options.get("databases") or facts["server"]["databases"]
    return int(said or max(DEFAULT_DATABASES, *(int(db) + 1 for db in facts["keys"]), 0))


@contextmanager
def _copy_of(target: Target, layout: Layout) -> Iterator[Path]:
    """Give a copy of the target's directory, beside it where we may write there: most of it is then hard links."""
    parent = target.directory.absolute().parent
    beside = parent if os.access(parent, os.W_OK) else None
    with ScratchFolder(_COPY, beside) as copy:
        copy_tree(target.directory, copy, layout.log if layout.log_is_written_in_place else None)
        yield copy


def _clear_left(target: Target) -> None:
    """End what a killed proof left running, and remove its copies of the data."""
    end_left()
    for parent in (target.directory.absolute().parent, None):
        clear_left_trees(_COPY, parent)
