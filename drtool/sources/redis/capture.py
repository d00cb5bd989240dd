"""The Redis source: one RDB from the replication stream, and beside it what the rights allow."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.base import Artifact, Captured, Entry, Json, Look, Piece, Previous, Proof, Target
from drtool.sources.redis.beside import ACL_PATH, CONFIG_PATH
from drtool.sources.redis.connection import Access, Endpoint
from drtool.sources.redis.layout import DEFAULT_NAMES, RDB_PATH
from drtool.sources.redis.nodes import Chosen, Limits, open_master, open_named, open_replica
from drtool.sources.redis.prove import prove
from drtool.sources.redis.psync import Transfer
from drtool.sources.redis.rdb.checksum import Checksum
from drtool.sources.redis.refusals import CommandRefused
from drtool.sources.redis.restore import restore
from drtool.sources.redis.rights import refuse_missing_rights
from drtool.sources.redis.sentinels import Sentinel

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Which Redis, who we are to it, and how long it may take.

    endpoint names one instance; sentinel, where given, chooses among the replicas instead. read_timeout_s bounds a
    single silence, deadline_s the whole transfer.
    """

    endpoint: Endpoint | None = None
    sentinel: Sentinel | None = None
    access: Access = field(default_factory=Access)
    allow_master: bool = False
    limits: Limits = field(default_factory=Limits)
    read_timeout_s: float = 60
    deadline_s: float = 50 * 60


class RedisSource:
    """Captures one Redis instance, and puts it back into a data directory."""

    kind = "redis"

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    def capture(self, previous: Previous | None) -> "RedisCapture":
        """Begin a capture. It stays with the replica it took last while that is healthy."""
        node = str(previous.facts.get("node", "")) if previous else ""
        return RedisCapture(self._settings, node)

    def restore(self, entries: Iterable[Entry], pieces: Iterable[Piece], target: Target) -> Json:
        """Seed the target's data directory; see restore.py."""
        return restore(entries, pieces, target)

    def prove(self, target: Target, facts: Mapping[str, Any]) -> Iterator[Proof]:
        """Prove the restored data directory by starting servers on copies of it; see prove.py."""
        return prove(target, facts)


class RedisCapture:
    """A capture under way: acl.txt and config.txt where we may read them, then dump.rdb."""

    def __init__(self, settings: RedisSettings, previous_node: str) -> None:
        self._settings = settings
        self._previous_node = previous_node
        self._checksum = Checksum()
        self._missing: dict[str, str] = {}
        self._transfer: Transfer | None = None
        self._crc = ""

    def __enter__(self) -> Self:
        self._chosen = self._open()
        return self

    def __exit__(self, *exc: object) -> None:
        self._chosen.connection.close()

    def look(self) -> Look:
        """Return which instance this is. Raises where it may not be captured: nothing is transferred."""
        connection, info = self._chosen.connection, self._chosen.info
        refuse_missing_rights(connection)
        role = "replica" if info.is_replica else "master"
        keys = sum(info.keys().values())
        note = f"the {role} would be captured, {self._chosen.lag_s} s behind; it has {keys} keys in memory"
        return Look(
            f"{info.flavour} {info.version} at {connection.endpoint}", info.number("used_memory"), (note,)
        )

    def __iter__(self) -> Iterator[Artifact]:
        """Yield the artifacts. Raises SourceUnavailable, or Corrupt where the checksum does not fit."""
        config = self._optional("config", "CONFIG", "GET", "*")
        acl = self._optional("acl", "ACL", "LIST")
        self._server = self._describe(config)
        if acl:
            yield _text(ACL_PATH, acl)
        if config:
            pairs = zip(config[::2], config[1::2], strict=True)
            yield _text(CONFIG_PATH, sorted(f"{name} {value}" for name, value in pairs))
        settings = self._settings
        self._transfer = Transfer(
            self._chosen.connection, read_timeout_s=settings.read_timeout_s, deadline_s=settings.deadline_s
        )
        stream = iter(self._transfer)
        first = self._head(stream)
        assert self._checksum.head  # noqa: S101 - _head returns once it is there
        entry = {
            "type": "file",
            "mode": 0o600,
            "server": self._server,
            "rdb_version": self._checksum.head.version,
        }
        yield Artifact(RDB_PATH, entry, self._rest(first, stream))

    def result(self) -> Captured:
        """Return the moment of the fork, by the server's clock, and what is known about it."""
        head, transfer = self._checksum.head, self._transfer
        if head is None or transfer is None or not self._crc:
            raise SourceUnavailable("the RDB was not read to its end")
        info = self._chosen.info
        # ctime is cut to the second; the fork came after INFO, so that the later of both is nearer to the truth.
        moment = EPOCH + max(timedelta(seconds=head.ctime or 0), timedelta(microseconds=info.clock_us))
        facts = {
            "node": str(self._chosen.connection.endpoint),
            "role": "replica" if info.is_replica else "master",
            "lag_s": self._chosen.lag_s,
            "replid": transfer.replid,
            "offset": transfer.offset,
            "ctime": head.ctime,
            "rdb_version": head.version,
            "crc": self._crc,
            "bytes": self._checksum.size,
            "keys": info.keys(),
            "used_memory": info.number("used_memory"),
            "modules": list(info.modules),
            "server": self._server,
            "missing": self._missing,
        }
        return Captured(begin=moment, end=moment, facts=facts)

    def _open(self) -> Chosen:
        settings = self._settings
        if settings.sentinel is None:
            assert settings.endpoint  # noqa: S101 - the policy gives one or the other
            return open_named(settings.endpoint, settings.access, settings.limits)
        try:
            return open_replica(settings.sentinel, settings.access, settings.limits, self._previous_node)
        except (SourceUnavailable, TemporaryFailure):
            if not settings.allow_master:
                raise
            return open_master(settings.sentinel, settings.access, settings.limits)

    def _optional(self, name: str, *command: str) -> list[str]:
        """Return what the server may tell us; what it refuses is named as missing."""
        try:
            reply = self._chosen.connection.call(*command)
        except CommandRefused as refusal:
            self._missing[name] = str(refusal)
            return []
        words = reply if isinstance(reply, list) else []
        return [word.decode("utf-8", "surrogateescape") for word in words if isinstance(word, bytes)]

    def _describe(self, config: list[str]) -> Json:
        """Return what a restore must know of the server: its version, and its own names for its files."""
        values = dict(zip(config[::2], config[1::2], strict=True))
        info = self._chosen.info
        server: Json = {"version": info.version, "flavour": info.flavour}
        server["appendonly"] = "yes" if info.number("aof_enabled") else "no"
        for name, default in DEFAULT_NAMES.items():
            server[name] = values.get(name, default)
        server["databases"] = int(values.get("databases", "0")) or None
        server["names_known"] = bool(config)
        return server

    def _head(self, stream: Iterator[bytes]) -> list[bytes]:
        """Read until the RDB's head is known; what was read is returned, for it belongs to the stream."""
        read: list[bytes] = []
        while self._checksum.head is None:
            data = next(stream, None)
            if data is None:
                self._checksum.finish()
                break
            self._checksum.update(data)
            read.append(data)
        return read

    def _rest(self, first: list[bytes], stream: Iterator[bytes]) -> Iterator[bytes]:
        yield from first
        for data in stream:
            self._checksum.update(data)
            yield data
        self._crc = self._checksum.finish()


def _text(path: str, lines: list[str]) -> Artifact:
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return Artifact(path, {"type": "file", "mode": 0o600}, [data], len(data))
