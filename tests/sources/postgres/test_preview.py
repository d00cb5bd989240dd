"""What a dry run asks of a server: it is told what a backup would meet, and left as it is."""

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.errors import Refused, SourceUnavailable
from drtool.sources.postgres.preview import look
from drtool.sources.postgres.slot import drop_slot, make_slot
from tests.sources.postgres.standins import NewServer

SLOT = "drtool_test_preview"


def test_a_look_says_the_version_the_size_and_what_becomes_of_the_slot(server: PostgresServer) -> None:
    user = server.settings_for("replicator", "secret")
    for _ in range(3):  # a server writes a record of its own every 15 s, but not each time
        before = server.sql("select pg_current_wal_insert_lsn()")
        seen = look(user, SLOT, "protect-app")
        if server.sql("select pg_current_wal_insert_lsn()") == before:
            break
    else:
        pytest.fail("a look writes")
    version = server.sql("show server_version")[0][0].split()[0]
    assert seen.what == f"PostgreSQL {version} at {user.host}:{user.port}"
    assert seen.size is not None
    assert seen.size > 10 << 20
    assert seen.notes[0] == f"slot {SLOT} would be made"
    assert server.sql("select from pg_replication_slots where slot_name = %s", SLOT) == []
    make_slot(user, SLOT)
    assert look(user, SLOT, "protect-app").notes[0] == f"slot {SLOT} is there, used by nobody just now"
    drop_slot(user, SLOT)


def test_what_the_server_keeps_and_who_is_synchronous_is_said(new_server: NewServer) -> None:
    server = new_server(max_slot_wal_keep_size=-1, synchronous_standby_names="FIRST 1 (other)")
    server.start()
    with pytest.raises(Refused, match="max_slot_wal_keep_size is unlimited"):
        look(server.settings, SLOT, "protect-app")
    _, guards = look(server.settings, SLOT, "protect-rpo").notes
    assert guards == (
        "the server keeps WAL for a slot without a limit; "
        "of the synchronous standbys (FIRST 1 (other)) drtool is none"
    )


def test_a_standby_is_refused_for_no_heartbeat_can_be_written_there(new_server: NewServer) -> None:
    server = new_server()
    (server.data / "standby.signal").touch()
    server.start()
    with pytest.raises(SourceUnavailable, match="is a standby"):
        look(server.settings, SLOT, "protect-app")
