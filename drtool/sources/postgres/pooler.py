"""Whether a pooler stands where the policy names the server. Replication through one works now and then, or never."""

import socket

import psycopg

from drtool.errors import SourceUnavailable
from drtool.sources.postgres.connection import PostgresSettings, connect
from drtool.sources.postgres.faults import POOLER_HINT


def refuse_pooler(settings: PostgresSettings) -> None:
    """Raise SourceUnavailable if Pgpool-II answers: it passes replication connections on, and breaks some of them.

    PgBouncer and others refuse those, and are named then. Only Pgpool-II knows `SHOW pool_version`; a server would
    log that as an error, so it is asked only where something stands between: where the two ends see other ports.
    """
    with connect(settings) as connection:
        row = connection.execute("select inet_client_port()").fetchone()
        with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as ours:
            name = ours.getsockname()
        if row is None or row[0] is None or (isinstance(name, tuple) and row[0] == name[1]):
            return
        try:
            connection.execute("show pool_version")
        except psycopg.Error:
            return
    raise SourceUnavailable(f"Pgpool-II answers at {settings.who}, not PostgreSQL", hint=POOLER_HINT)
