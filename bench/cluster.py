"""The data of the benchmark: a PostgreSQL 15 cluster, half pgbench, a quarter prose, a quarter random bytes.

Pages are changed by one small update each, which fits into the page: the pages have room for it.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from bench.measure import cpu_of
from bench.words import texts
from drtool.demo.servers.postgres import SUPERUSER, PostgresServer, run
from drtool.sources.postgres.connection import connect

MAJOR = 15
TABLES = {"pgbench_accounts": "abalance", "prose": "edits", "noise": "edits"}  # and the column to update
_FILL = 88  # per cent of a page: one row more fits
_SCALE_BYTES = 16_700_000  # what pgbench makes of one unit of scale, with its index, at that fill
_ROW = 1000  # bytes of prose or noise in one row
_ROWS_BYTES = 1190  # what such a row takes of its table, at that fill
_SETTINGS = {
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "max_slot_wal_keep_size": "4GB",
    "archive_mode": "on",  # for pgBackRest, and only it
    "archive_command": "/bin/true",
    "autovacuum": "off",  # nothing but the bench changes pages
}


def make_server(directory: Path) -> PostgresServer:
    """Return a server on a new data directory below directory, not started."""
    return PostgresServer.create(MAJOR, directory, settings=_SETTINGS, fast=True)


def server_cpu(server: PostgresServer) -> float:
    """Return the CPU seconds of the server's main process and of all that it started and that have ended."""
    pid = int((server.data / "postmaster.pid").read_text().split()[0])
    return cpu_of(pid)


def fill(server: PostgresServer, size: int) -> None:
    """Fill the running server with about size bytes, vacuumed and frozen."""
    scale = max(1, size // 2 // _SCALE_BYTES)
    connection = ("-h", "127.0.0.1", "-p", str(server.port), "-U", SUPERUSER, "postgres")
    options = ("-i", "-I", "dtgp", "-q", "-F", str(_FILL), "-s", str(scale))
    program = server.bin_dir / "pgbench"
    run((program, *options, *connection), cwd=server.data.parent, env={"PGPASSWORD": server.password})
    rows = max(1, size // 4 // _ROWS_BYTES)
    chance = random.Random(MAJOR)
    _fill_table(server, "prose", "text", texts(chance, rows, _ROW))
    _fill_table(server, "noise", "bytea", (chance.randbytes(_ROW) for _ in range(rows)))
    server.sql("vacuum (freeze, analyze)")
    server.sql("checkpoint")


def _fill_table(server: PostgresServer, name: str, kind: str, rows: Iterator[str] | Iterator[bytes]) -> None:
    server.sql(
        f"create table {name} (id bigint, edits int not null, body {kind}) with (fillfactor = {_FILL})"
    )
    copying = f"copy {name} from stdin (format binary)".encode()
    with connect(server.settings) as connection, connection.cursor().copy(copying) as copy:
        copy.set_types(["int8", "int4", kind])
        for number, body in enumerate(rows):
            copy.write_row((number, 0, body))
    server.sql(f"alter table {name} add primary key (id)")


def change(server: PostgresServer, number: int, *, clustered: bool) -> int:
    """Change 1 % of the pages of every table, neighbours or one in a hundred. Return how many pages.

    number, below 100, chooses the pages: every one takes others.
    """
    changed = 0
    for table, column in TABLES.items():
        [(pages,)] = server.sql("select relpages from pg_class where relname = %s", table)
        first, last, step = (number, pages - 1, 100)
        if clustered:
            first, last, step = (pages * number // 100, pages * (number + 1) // 100 - 1, 1)
        [(count,)] = server.sql(
            f"with hit as (update {table} set {column} = {column} + 1"
            f" from generate_series({first}, {last}, {step}) page"
            f" where {table}.ctid = format('(%s,1)', page)::tid returning 1) select count(*) from hit"
        )
        changed += count
    return changed
