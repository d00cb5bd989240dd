"""What makes a system heavy before it is lost: rows in a table of its own, and uploads that its site acknowledged.

rows = fill(cluster, WESAGO, folder / "ledger")     # before drtool is there, for no slot keeps so much WAL
...
assert digest(target, WESAGO) == rows
"""

from pathlib import Path
from secrets import token_hex

from tests.cluster.cluster import Cluster
from tests.cluster.load.generator import Generator
from tests.cluster.load.ledger import Kind, LedgerFile
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.system import System

UPLOADS = 5_000
UPLOAD_BYTES = (72 << 10, 88 << 10)
UPLOADS_A_SECOND = 100
BATCHES, ROWS = (
    19,
    30_000,
)  # rows of a batch, whose 35 MB are less WAL than what a primary keeps for its standbys
BEHIND = 8 << 20  # bytes of WAL that a standby may still have to replay when the next batch begins
GIGABYTE = 10**9  # of rows and uploads together
LEAST_ROWS = 600 * 10**6  # characters
FILLED_S = 600
FOLLOWED_S = 120

PSQL = 'exec psql --host=/var/run/postgresql --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" -XAtqc "$0"'
# A thousand characters a row, of which a compressor gains what base64 has added and no more.
WRITE = """
insert into bulk select id, (
  select string_agg(encode(sha512(convert_to(concat('{seed}', id, ' ', part), 'UTF8')), 'base64'), '')
  from generate_series(1, 12) as part
) from generate_series({first}, {last}) as id
"""
LAG = "select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0) from pg_stat_replication"
DIGEST = "select count(*), sum(length(text)), md5(string_agg(md5(text), '' order by id)) from bulk"


def fill(cluster: Cluster, system: System, ledger: Path) -> str:
    """Fill system with a gigabyte, and return the digest of its rows; ledger gets the uploads."""
    pace: dict[Kind, float] = {"uploads": UPLOADS_A_SECOND}
    with LedgerFile(ledger) as noted:
        load = Generator(system.site(cluster), system.session(cluster), noted, pace, UPLOAD_BYTES)
        load.start()
        try:
            _write_rows(cluster, system)
            wait_until(
                lambda: load.is_stopped or load.achieved()["uploads"]["acknowledged"] >= UPLOADS,
                f"{UPLOADS} uploads are acknowledged",
                deadline_s=FILLED_S,
            )
        finally:
            load.stop()
    return digest(cluster, system)


def digest(cluster: Cluster, system: System) -> str:
    """Return how many rows there are, how many characters they have, and a hash over all of them in their order."""
    return sql(cluster, system, DIGEST)


def sql(cluster: Cluster, system: System, query: str) -> str:
    """Return what the primary of system answers to a query."""
    return execute(cluster, "postgres-0", "sh", "-c", PSQL, query, namespace=system.namespace)


def _write_rows(cluster: Cluster, system: System) -> None:
    sql(cluster, system, "create table bulk (id integer primary key, text text not null)")
    seed = token_hex(8)
    for first in range(1, BATCHES * ROWS, ROWS):
        sql(cluster, system, WRITE.format(seed=seed, first=first, last=first + ROWS - 1))
        wait_until(
            lambda: float(sql(cluster, system, LAG)) < BEHIND,
            "the standbys have replayed what was written",
            deadline_s=FOLLOWED_S,
        )
    written = int(sql(cluster, system, "select sum(length(text)) from bulk"))
    assert written > LEAST_ROWS
