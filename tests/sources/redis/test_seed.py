"""Running servers filled from an RDB: real ones of both versions, killed, watched, full of something else."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drtool.demo.servers.process import free_port, wait_until
from drtool.demo.servers.redis import RedisServer, redis_program
from drtool.errors import Refused, SourceUnavailable, TemporaryFailure
from drtool.sources.base import Proof
from drtool.sources.redis.refusals import CommandRefused
from drtool.sources.redis.seed import Seeding, seed
from tests.sources.redis.support import Connect, Launch, Point, allow, contents, fill, settings_of, take
from tests.sources.redis.test_connection import make_certificates

FUNCTION = "#!lua name=shop\nredis.register_function('total', function() return 7 end)"


@dataclass(frozen=True)
class Kept:
    """What a server held, as it was captured, in a file."""

    held: dict[tuple[int, bytes], Any]
    point: Point
    rdb: Path

    def into(self, seeding: Seeding) -> list[Proof]:
        return list(seed(seeding, self.rdb, self.point.captured.facts))


@pytest.fixture
def kept(launch: Launch, client: Connect, tmp_path: Path, version: str) -> Kept:
    server = launch()
    fill(client, server, int(datetime.now(UTC).timestamp() * 1000))
    client(server).set("gone soon", "1", px=1)
    if version == "7.0":
        redis: Any = client(server)
        redis.execute_command("FUNCTION", "LOAD", FUNCTION)
    return keep(client, server, tmp_path)


def keep(client: Connect, server: RedisServer, folder: Path) -> Kept:
    held, point = contents(client, server), take(settings_of(server))
    rdb = folder / "kept.rdb"
    rdb.write_bytes(point.rdb)
    return Kept(held, point, rdb)


def seeding_of(server: RedisServer, **others: Any) -> Seeding:
    made = Seeding(server.endpoint, server.access, free_port(), threading.Event(), deadline_s=60)
    return replace(made, **others)


def role(client: Connect, server: RedisServer) -> str:
    return str(client(server).info("replication")["role"])


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_an_empty_server_has_everything_is_a_master_and_keeps_it_through_a_kill(
    kept: Kept, launch: Launch, client: Connect, appendonly: str
) -> None:
    server = launch({"appendonly": appendonly}, password="secret")

    proofs = kept.into(seeding_of(server))

    assert [each for each in proofs if not each.ok] == []
    assert "keys of the running server" in [each.name for each in proofs]
    assert contents(client, server) == kept.held
    assert role(client, server) == "master"
    server.kill()
    server.start()
    assert contents(client, server) == kept.held


def test_a_replica_of_it_has_the_same(kept: Kept, launch: Launch, client: Connect) -> None:
    server = launch()
    replica = launch({"replicaof": f"127.0.0.1 {server.port}"})

    kept.into(seeding_of(server))

    wait_until(lambda: contents(client, replica) == kept.held, "the replica has it too", deadline_s=20)
    assert role(client, replica) == "slave"


def test_who_has_it_already_is_only_proven(kept: Kept, launch: Launch, client: Connect) -> None:
    server = launch()
    seeding = seeding_of(server)
    kept.into(seeding)
    before = client(server).info("replication")["master_replid"]

    proofs = kept.into(seeding)

    assert len(proofs) > 3
    assert all(each.ok for each in proofs)
    assert client(server).info("replication")["master_replid"] == before
    assert contents(client, server) == kept.held


def test_who_was_left_a_replica_of_a_mover_that_died_is_filled_by_the_next(
    kept: Kept, launch: Launch, client: Connect
) -> None:
    server = launch({"replica-serve-stale-data": "no"})
    seeding = seeding_of(server)
    client(server).replicaof("127.0.0.1", seeding.port)

    assert all(each.ok for each in kept.into(seeding))
    assert role(client, server) == "master"
    assert contents(client, server) == kept.held


def test_ended_half_way_it_takes_no_writes_until_it_is_done_again(
    kept: Kept, launch: Launch, client: Connect
) -> None:
    server = launch()
    seeding = seeding_of(server)
    proofs: Iterator[Proof] = iter(seed(seeding, kept.rdb, kept.point.captured.facts))
    assert next(proofs).ok
    proofs.close()  # type: ignore[attr-defined]  # it is a generator

    with pytest.raises(Exception, match="read only replica"):
        client(server).set("new", "1")
    assert all(each.ok for each in kept.into(seeding))
    assert contents(client, server) == kept.held
    client(server).set("new", "1")


def test_what_does_not_prove_true_does_not_become_a_master(
    kept: Kept, launch: Launch, client: Connect
) -> None:
    server = launch({"replica-read-only": "no"})
    proofs = iter(seed(seeding_of(server), kept.rdb, kept.point.captured.facts))
    assert next(proofs).ok
    client(server).rpush("of another", "1")

    assert [each.name for each in proofs if not each.ok] == ["keys of each type"]
    assert role(client, server) == "slave"


def test_other_data_is_not_overwritten(kept: Kept, launch: Launch, client: Connect) -> None:
    server = launch()
    client(server).set("precious", "1")
    with pytest.raises(Refused, match="holds other data"):
        kept.into(seeding_of(server))
    assert contents(client, server) == {(0, b"precious"): (b"1", False)}


def test_a_replica_of_another_master_is_left_alone(kept: Kept, launch: Launch, client: Connect) -> None:
    master = launch()
    server = launch({"replicaof": f"127.0.0.1 {master.port}"})
    with pytest.raises(Refused, match=f"is a replica of 127.0.0.1:{master.port}"):
        kept.into(seeding_of(server))
    assert client(server).info("replication")["master_port"] == master.port


def test_one_that_sentinels_watch_is_left_alone(
    kept: Kept, launch: Launch, client: Connect, tmp_path: Path, version: str
) -> None:
    server = launch()
    sentinel = RedisServer.create_sentinel(redis_program(version), tmp_path / "sentinel", server)
    sentinel.start()
    try:
        wait_until(
            lambda: any(each["name"].startswith("sentinel-") for each in client(server).client_list()),
            "it is watched",
            deadline_s=20,
        )
        with pytest.raises(Refused, match="is watched by Sentinels"):
            kept.into(seeding_of(server))
    finally:
        sentinel.kill()
    assert (role(client, server), contents(client, server)) == ("master", {})


@pytest.mark.parametrize("version", ["6.2"])
def test_an_older_server_than_the_data_is_refused(launch: Launch, client: Connect, tmp_path: Path) -> None:
    newer, server = launch(version="7.0"), launch()
    client(newer).set("key", "1")
    with pytest.raises(Refused, match=r"is redis 6\.2\.\d+, which reads RDBs up to version 9, .* version 10"):
        keep(client, newer, tmp_path).into(seeding_of(server))
    assert role(client, server) == "master"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"databases": "2"}, "has 2 databases, and the data are of database 5 too"),
        ({"cluster-enabled": "yes"}, "is part of a cluster"),
    ],
)
@pytest.mark.parametrize("version", ["7.0"])
def test_a_server_that_cannot_be_filled_is_refused(
    kept: Kept, launch: Launch, client: Connect, settings: dict[str, str], reason: str
) -> None:
    # A cluster's own port is that of Redis and 10,000, unless one is named: some of those are beyond the last port.
    server = launch({**settings, "cluster-port": str(free_port())})
    with pytest.raises(Refused, match=reason):
        kept.into(seeding_of(server))
    assert role(client, server) == "master"


@pytest.mark.parametrize("version", ["7.0"])
def test_a_server_that_replicates_over_tls_alone_is_refused(
    kept: Kept, launch: Launch, tmp_path: Path
) -> None:
    made = make_certificates(tmp_path / "certificates")
    files = {"ca-cert-file": made.ca, "cert-file": made.certificate, "key-file": made.key}
    server = launch({"tls-replication": "yes", **{f"tls-{name}": str(path) for name, path in files.items()}})
    with pytest.raises(Refused, match="replicates over TLS alone"):
        kept.into(seeding_of(server))


@pytest.mark.parametrize("version", ["7.0"])
def test_one_that_does_not_come_to_be_filled_is_told(kept: Kept, launch: Launch) -> None:
    server = launch({"bind-source-addr": "127.0.0.5"})
    with pytest.raises(SourceUnavailable, match=r"does not come to 127\.0\.0\.1:"):
        kept.into(seeding_of(server, comes_s=1.5))


def test_who_is_told_to_end_ends(kept: Kept, launch: Launch) -> None:
    ending = threading.Event()
    ending.set()
    with pytest.raises(TemporaryFailure, match="has not taken the data in time"):
        kept.into(seeding_of(launch(), ending=ending))


def test_the_rights_that_it_takes_are_named_before_anything_is_changed(
    kept: Kept, launch: Launch, client: Connect
) -> None:
    server = launch()
    few = ("+info", "+time", "+client", "~*")
    enough = (*few, "+replicaof", "+select", "+scan", "+dump", "+pttl", "+ping", "+function")
    exact = () if client(server).info("server")["redis_version"].startswith("6") else ("+pexpiretime",)
    allow(client(server), *few)
    access = replace(server.access, username="bk", password=lambda: "pw")
    with pytest.raises(CommandRefused, match="does not let user bk run REPLICAOF"):
        kept.into(seeding_of(server, access=access))
    assert role(client, server) == "master"

    given = [each for each in enough if each != "+function" or exact]
    allow(client(server), *given, *exact)
    assert all(each.ok for each in kept.into(seeding_of(server, access=access)))
