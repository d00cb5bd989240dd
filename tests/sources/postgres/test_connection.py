"""Each way in which PostgreSQL can refuse has an error of its own, and no secret in it."""

from dataclasses import replace

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.errors import DrtoolError, Refused, SourceUnavailable, TemporaryFailure
from drtool.sources.postgres.checkup import examine
from drtool.sources.postgres.connection import PostgresSettings, Replication, connect
from drtool.sources.postgres.faults import SourceOutage, connection_fault
from tests.sources.postgres.standins import NewServer, answering, error_response, welcome


def refused(settings: PostgresSettings) -> DrtoolError:
    with pytest.raises(DrtoolError) as caught, Replication(settings) as replication:
        replication.identify()
    assert caught.value.hint
    assert "top-secret" not in f"{caught.value} {caught.value.hint} {settings!r}"
    return caught.value


def test_a_replication_role_learns_what_the_instance_is(server: PostgresServer) -> None:
    with Replication(server.settings_for("replicator", "secret")) as replication:
        identity = replication.identify()
    system = server.sql("select system_identifier from pg_control_system()")[0][0]
    assert (identity.system_identifier, identity.timeline) == (system, 1)
    assert identity.wal_segment_size == 16 << 20
    assert str(identity.major) in server.sql("select version()")[0][0]


def test_a_wrong_password_is_said(server: PostgresServer) -> None:
    error = refused(server.settings_for("replicator", "top-secret"))
    assert isinstance(error, SourceUnavailable)
    assert "refuses the password of replicator@127.0.0.1" in error.message


def test_a_missing_password_is_said(server: PostgresServer) -> None:
    error = refused(replace(server.settings, password=None))
    assert "refuses the password" in error.message


def test_a_missing_replication_right_is_said_with_the_statement_that_mends_it(server: PostgresServer) -> None:
    server.sql("create role plain login password 'secret'")
    error = refused(server.settings_for("plain", "secret"))
    server.sql("drop role plain")
    assert isinstance(error, SourceUnavailable)
    assert "has no REPLICATION right" in error.message
    assert 'ALTER ROLE "plain" REPLICATION' in error.hint


def test_an_unreachable_server_is_said() -> None:
    error = refused(PostgresSettings(host="127.0.0.1", port=1))
    assert isinstance(error, SourceUnavailable)
    assert error.message.endswith("is unreachable (Connection refused)")


def test_a_host_without_an_address_is_said() -> None:
    assert "has no address" in refused(PostgresSettings(host="nowhere.invalid")).message


def test_a_missing_pg_hba_line_is_said_for_replication_and_for_sql(new_server: NewServer) -> None:
    server = new_server()
    server.start()
    rules = server.data / "pg_hba.conf"
    rules.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    server.sql("select pg_reload_conf()")
    error = refused(server.settings)
    assert "no line that lets postgres@127.0.0.1" in error.message
    assert "host replication postgres" in error.hint
    rules.write_text("host replication all 127.0.0.1/32 scram-sha-256\n")
    server.stop()
    server.start(wait=False)
    while isinstance(said := _sql_refusal(server), TemporaryFailure) or "unreachable" in said.message:
        pass
    assert "host all postgres" in said.hint


def _sql_refusal(server: PostgresServer) -> DrtoolError:
    with pytest.raises(DrtoolError) as caught:
        connect(server.settings)
    return caught.value


def test_tls_that_the_server_does_not_speak_is_said(server: PostgresServer) -> None:
    assert "no TLS connection" in refused(replace(server.settings, sslmode="require")).message


@pytest.mark.parametrize("major", [15, 18])
def test_a_server_that_is_set_to_have_no_walsender_is_refused_with_what_mends_it(
    new_server: NewServer, major: int
) -> None:
    server = new_server(major, wal_level="minimal", max_wal_senders=0)
    server.start()
    error = refused(server.settings)
    assert type(error).exit_code == Refused.exit_code
    assert "cannot replicate: max_wal_senders is 0" in error.message
    assert "ALTER SYSTEM SET max_wal_senders = '10'" in error.hint
    found = examine(server.settings, None, "protect-app", "postgres")
    assert [each.message for each in found if each.level == "error"] == [
        "the server cannot replicate: wal_level minimal, max_wal_senders 0, max_replication_slots 10"
    ]


def test_who_hangs_up_while_connecting_is_said_whole() -> None:
    with answering(b"") as port:
        error = refused(PostgresSettings(host="127.0.0.1", port=port))
    assert isinstance(error, SourceOutage)
    assert (
        "closed the connection while connecting (server closed the connection unexpectedly" in error.message
    )
    assert error.message.endswith("before or while processing the request.)")
    assert "proxy" in error.hint


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (
            error_response("unsupported startup parameter: replication"),
            SourceUnavailable,
            "PgBouncer answers",
        ),
        (
            error_response("the database system is starting up", "57P03"),
            TemporaryFailure,
            "accepts no connections now",
        ),
        (error_response("sorry, too many clients already", "53300"), TemporaryFailure, "no free connection"),
        (error_response("pgpool: no replication here"), SourceUnavailable, "a pooler answers"),
        (error_response("Zugriff verweigert"), SourceUnavailable, "Zugriff verweigert"),
        (welcome("14.9"), Refused, "is version 14; drtool needs 15"),
    ],
    ids=["pgbouncer", "starting", "full", "pgpool", "another language", "too old"],
)
def test_what_else_answers_is_named(reply: bytes, kind: type[DrtoolError], said: str) -> None:
    with answering(reply) as port:
        error = refused(PostgresSettings(host="127.0.0.1", port=port))
    assert type(error) is kind
    assert said in error.message


def test_a_connection_that_is_no_walsender_is_told_from_a_server(server: PostgresServer) -> None:
    """A pooler that drops the `replication` parameter hands out ordinary sessions."""
    replication = Replication(server.settings)
    replication.close()
    ordinary = connect(server.settings)
    replication._pgconn = ordinary.pgconn
    replication._readable.register(ordinary.pgconn.socket)
    with pytest.raises(SourceUnavailable, match="does not speak replication") as caught:
        replication.identify()
    assert "pooler" in caught.value.hint
    ordinary.close()


def test_the_socket_of_a_lost_connection_is_an_error_of_drtool(server: PostgresServer) -> None:
    with Replication(server.settings) as replication:
        assert replication.fileno() > 0
    with pytest.raises(SourceUnavailable, match="ended the connection"):
        replication.fileno()


def test_a_refused_command_leaves_a_connection_that_serves(server: PostgresServer) -> None:
    with Replication(server.settings) as replication:
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match="could not open file"):
                replication.timeline_history(7)
            assert replication.identify().timeline == 1


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ('FATAL:  database "shop" does not exist', "Check the database's name"),
        ('FATAL:  role "drtool" does not exist', "Create the role with LOGIN and REPLICATION"),
        ('FATAL:  role "drtool" is not permitted to log in', "Create the role with LOGIN and REPLICATION"),
    ],
)
def test_the_hint_begins_with_what_is_missing(said: str, hint: str) -> None:
    fault = connection_fault("drtool@db.test:5432", "drtool", said)

    assert "knows no such role or database" in fault.message
    assert (fault.hint or "").startswith(hint)
