"""A column of any length, read from real servers in little memory; what they refuse is said."""

import tracemalloc
from dataclasses import replace

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.errors import NotProven, SourceUnavailable
from drtool.sources.postgres.faults import SourceOutage
from drtool.sources.postgres.listing import listed

LIMIT_S = 60.0


def test_what_is_null_or_empty_is_no_file_and_bytes_stay_as_they_are(server: PostgresServer) -> None:
    sql = "select * from (values (1, 'a.jpg'), (2, null), (3, ''), (4, E'b\\n''ä')) as t (id, p) order by id"
    assert list(listed(server.settings, sql.replace("*", "p", 1), LIMIT_S)) == [b"a.jpg", "b\n'ä".encode()]
    assert list(listed(server.settings, "select '\\xff00'::bytea;", LIMIT_S)) == [b"\xff\x00"]
    assert list(listed(server.settings, "select 7 where '%s' = '%s'", LIMIT_S)) == [b"7"]


def test_many_rows_take_no_more_memory_than_a_few(server: PostgresServer) -> None:
    sql = "select 'uploads/' || n || '.jpg' from generate_series(1, 50000) as n"
    tracemalloc.start()
    try:
        assert sum(1 for _ in listed(server.settings, sql, LIMIT_S)) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_a_query_writes_nothing(server: PostgresServer) -> None:
    with pytest.raises(SourceUnavailable, match="cannot insert multiple commands"):
        list(listed(server.settings, "select 'x'; create table t ()", LIMIT_S))
    server.sql("create sequence counted")
    with pytest.raises(SourceUnavailable, match="read-only transaction"):
        list(listed(server.settings, "select nextval('counted')", LIMIT_S))
    server.sql("drop sequence counted")


def test_a_role_that_may_not_read_is_told_which_table(server: PostgresServer) -> None:
    with pytest.raises(SourceUnavailable, match=r"permission denied for table pg_authid \(42501\)") as caught:
        list(listed(server.settings_for("replicator", "secret"), "select rolname from pg_authid", LIMIT_S))
    assert "grant its role" in caught.value.hint


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("select path form files", "refuses the query: syntax error"),
        ("select path from files", 'relation "files" does not exist'),
        ("select 1, 2", "gives 2 columns, not one"),
        ("select from pg_class", "gives 0 columns, not one"),
    ],
)
def test_a_query_that_is_wrong_is_said(server: PostgresServer, sql: str, why: str) -> None:
    with pytest.raises(SourceUnavailable, match=why):
        list(listed(server.settings, sql, LIMIT_S))


def test_a_query_that_takes_too_long_ends(server: PostgresServer) -> None:
    with pytest.raises(NotProven, match="did not end in 1 s"):
        list(listed(server.settings, "select pg_sleep(60)::text || 'x'", 0.6))
    with pytest.raises(NotProven, match="did not end in 2 s"):  # no single fetch takes long
        list(listed(server.settings, "select 'x' from pg_class a, pg_class b, pg_class c, pg_class d", 2))


def test_a_server_that_goes_away_is_no_end_of_the_list(server: PostgresServer) -> None:
    found = listed(server.settings, "select 'x' from generate_series(1, 100000)", LIMIT_S)
    next(found)
    server.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'FETCH%'")
    with pytest.raises(SourceUnavailable):
        list(found)
    with pytest.raises(SourceOutage):
        list(listed(replace(server.settings, port=1), "select 1", LIMIT_S))
