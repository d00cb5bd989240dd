"""A running Redis filled from an RDB: made a replica of one that serves it, looked at, and made a master again.

For a server whose data lies in no volume, so that nothing can be laid there before it starts. It must be empty, and
nobody may use it meanwhile. A replica keeps keys whose time has passed, so that every one can be counted before it
becomes a master.

Killed half-way, it stays a replica, which takes no writes; who does it again knows it by the port of its master.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from drtool.errors import Refused, SourceUnavailable, TemporaryFailure
from drtool.sources.base import Proof
from drtool.sources.redis import compare
from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.info import Info
from drtool.sources.redis.layout import is_multi_part, newest_rdb, parse_version
from drtool.sources.redis.master import Master
from drtool.sources.redis.prove import settled, take_census
from drtool.sources.redis.rdb.census import Census
from drtool.sources.redis.refusals import CommandRefused

_PAUSE_S: Final = 0.2
_ANSWERS_S: Final = 120.0  # it may be busy with what it is given
_COMES_S: Final = 60.0  # a server tries its master every second
_BY_HAND: Final = "Empty it if nothing in it is needed, and do it again."


@dataclass(frozen=True, slots=True)
class Seeding:
    """Which server is filled, and how long that may take. port is where the RDB is served: one of this run alone.

    ending ends it early.
    """

    endpoint: Endpoint
    access: Access
    port: int
    ending: threading.Event
    deadline_s: float = 50 * 60
    comes_s: float = _COMES_S


def seed(seeding: Seeding, rdb: Path, facts: Mapping[str, Any]) -> Iterator[Proof]:
    """Fill the server, and yield the proofs; once the last is taken it is a master, if none of them failed.

    facts are those of the capture. A server that has these very data already is only proven. Raises Refused, with
    nothing changed, for one that holds others, cannot read this RDB, or is watched by Sentinels.
    """
    sample = f"{facts['replid']}:{facts['offset']}"
    with Connection(seeding.endpoint, seeding.access) as redis:
        redis.wait_at_most(_ANSWERS_S)
        info = Info.of(redis)
        census, functions = take_census(rdb, compare.clock_ms(redis), sample)
        filled = _Filled(redis, info, census, functions, sample)
        _refuse_unfit(seeding, redis, info, facts, census)
        if not info.is_replica and any(info.keys().values()):
            yield from _there_already(seeding, filled)
            return
        if not info.is_replica:
            redis.call("REPLICAOF", "NO", "ONE")  # changes nothing of a master, and tells whether we may
        with Master(rdb, redis.own_address, seeding.port, redis.address) as master:
            redis.call("REPLICAOF", redis.own_address, master.port)
            _wait_until_full(seeding, redis, master)
            is_proven = True
            for proof in filled.as_replica():
                is_proven = is_proven and proof.ok
                yield proof
            if is_proven:
                redis.call("REPLICAOF", "NO", "ONE")
                yield settled(redis, census, "of the running server")
                _wait_until_durable(seeding, redis)


@dataclass(frozen=True, slots=True)
class _Filled:
    """A server that should have what an RDB says."""

    redis: Connection
    info: Info
    census: Census
    functions: list[bytes]
    sample: str

    def as_replica(self) -> Iterator[Proof]:
        """Yield the proofs of a server that keeps all its keys, whatever their time."""
        yield compare.all_keys(self.redis, self.census)
        yield from self.proofs()

    def proofs(self) -> Iterator[Proof]:
        is_new = is_multi_part(parse_version(self.info.version))
        yield compare.kinds(self.redis, self.census)
        yield compare.expiries(self.redis, self.census, exact=is_new)
        yield compare.values(self.redis, self.census, self.sample)
        if is_new:
            yield compare.functions(self.redis, self.functions)


def _refuse_unfit(
    seeding: Seeding, redis: Connection, info: Info, facts: Mapping[str, Any], census: Census
) -> None:
    """Return where a server can be filled. Raises Refused, with nothing changed."""
    server = f"redis at {seeding.endpoint}"
    newest = newest_rdb(parse_version(info.version), info.flavour)
    if facts["rdb_version"] > newest:
        raise Refused(
            f"{server} is {info.flavour} {info.version}, which reads RDBs up to version {newest}, and this one is of "
            f"version {facts['rdb_version']}",
            hint="Run the version that was captured, or a newer one.",
        )
    if info.is_replica and info.number("master_port") != seeding.port:
        raise Refused(
            f"{server} is a replica of {info.text('master_host')}:{info.text('master_port')}",
            hint="Name the master itself as the volume's host: its replicas take what it has.",
        )
    if info.number("cluster_enabled"):
        raise Refused(f"{server} is part of a cluster", hint="Load each of its masters by hand.")
    watchers = redis.call("CLIENT", "LIST")
    if isinstance(watchers, bytes) and b" name=sentinel-" in watchers:
        raise Refused(
            f"{server} is watched by Sentinels, which would make another server the master meanwhile",
            hint="Stop them, and let them start in a tier after that of Redis.",
        )
    if _configured(redis, "tls-replication") == "yes":
        raise Refused(
            f"{server} replicates over TLS alone, and what would fill it has no certificate",
            hint="Give it a claim; or turn tls-replication off until it is filled.",
        )
    databases = int(_configured(redis, "databases") or 0)
    highest = max(census.databases(), default=0)
    if databases and highest >= databases:
        raise Refused(
            f"{server} has {databases} databases, and the data are of database {highest} too",
            hint="Raise databases to what the captured server had.",
        )


def _configured(redis: Connection, name: str) -> str:
    """Return a setting; empty where it is not known, or not to be told."""
    try:
        reply = redis.call("CONFIG", "GET", name)
    except CommandRefused:
        return ""
    value = reply[1] if isinstance(reply, list) and reply else b""
    return value.decode() if isinstance(value, bytes) else ""


def _there_already(seeding: Seeding, filled: _Filled) -> Iterator[Proof]:
    """Yield the proofs of a server that was filled before. Raises Refused for one that holds anything else."""
    proofs = [settled(filled.redis, filled.census, "of the running server"), *filled.proofs()]
    if not all(each.ok for each in proofs):
        raise Refused(f"redis at {seeding.endpoint} holds other data", hint=_BY_HAND)
    yield from proofs
    _wait_until_durable(seeding, filled.redis)


def _wait_until_full(seeding: Seeding, redis: Connection, master: Master) -> None:
    """Return once the server has the whole RDB from this very master, and what came behind it."""
    come_by = time.monotonic() + seeding.comes_s

    def is_full() -> bool:
        info = _look(redis)
        if not master.has_come and time.monotonic() > come_by:
            raise SourceUnavailable(
                f"redis at {seeding.endpoint} does not come to {redis.own_address}:{master.port} to be filled",
                hint="Let its NetworkPolicy connect it to drtool's pod, and see its log; then resume.",
            )
        return (
            info is not None
            and info.text("master_link_status") == "up"
            and not info.number("master_sync_in_progress")
            and info.text("master_replid") == master.replid
            and info.number("slave_repl_offset") > 1
        )

    _wait(seeding, is_full, "has not taken the data in time")


def _wait_until_durable(seeding: Seeding, redis: Connection) -> None:
    """Return once its log has what it was filled with: killed before that, it would start empty."""

    def is_durable() -> bool:
        info = _look(redis)
        if info is None or info.number("aof_rewrite_in_progress") or info.number("aof_rewrite_scheduled"):
            return False
        return not info.number("aof_enabled") or info.text("aof_last_bgrewrite_status") == "ok"

    _wait(seeding, is_durable, "has not written its log in time")


def _look(redis: Connection) -> Info | None:
    """Return what the server says of itself; None while it loads."""
    try:
        return Info.of(redis)
    except TemporaryFailure:
        return None


def _wait(seeding: Seeding, is_so: Callable[[], bool], else_said: str) -> None:
    end = time.monotonic() + seeding.deadline_s
    while not is_so():
        if time.monotonic() > end or seeding.ending.wait(_PAUSE_S):
            raise TemporaryFailure(
                f"redis at {seeding.endpoint} {else_said}", hint="See its log; then resume."
            )
