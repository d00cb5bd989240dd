"""What drtool's own connections pin: nothing of the operator's environment, of roles and of databases reaches them.

A setting that a connection brings along outranks those of ALTER ROLE, ALTER DATABASE and ALTER ROLE IN DATABASE.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg import pq

from drtool.sources.postgres.raw_names import AnyText

# While an error goes up, psycopg logs what else failed, as a rollback; logging would print that above our own words.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

# What a role without rights may set, in every version from 15 on.
COMMON: Final[Mapping[str, str]] = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "role": "none",
    "local_preload_libraries": "",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "quote_all_identifiers": "off",
}
_SEVENTEEN: Final = 17
SINCE_17: Final[Mapping[str, str]] = {
    "transaction_timeout": "0"
}  # an older server lets nobody in who names it
# What a superuser may set, too. No event trigger stands in its way, at a login or at DDL; no damage is read over.
SUPERUSER: Final[Mapping[str, str]] = {
    "session_preload_libraries": "",
    "session_replication_role": "replica",
    "zero_damaged_pages": "off",
    "ignore_checksum_failure": "off",
    "temp_file_limit": "-1",
    "lc_messages": "C",
}
# Nothing of the application's own stands before the catalogue, in what drtool asks it.
CATALOGUE: Final[Mapping[str, str]] = {**SUPERUSER, "search_path": "pg_catalog,public"}
# These are read by psycopg, too, which knows the environment by os.environ: they have to be said.
KEYWORDS: Final[Mapping[str, str]] = {"client_encoding": "UTF8", "target_session_attrs": "any"}

# An encoding that converts to nothing: what a server of these holds is taken as it is.
_RAW = ("SQL_ASCII", "MULE_INTERNAL")
_TEXT = ("text", "name", "varchar", "bpchar", '"char"', 0)

# Beside those that are a keyword's: libpq sends the first three as settings, whatever the keywords say.
_MORE_VARIABLES = ("PGDATESTYLE", "PGTZ", "PGGEQO", "PGSERVICEFILE", "PGSYSCONFDIR", "PGREALM", "PGLOCALEDIR")


def known_to(major: int) -> Mapping[str, str]:
    """Return COMMON, and what came with later versions up to major."""
    return {**COMMON, **SINCE_17} if major >= _SEVENTEEN else COMMON


def options(*settings: Mapping[str, str]) -> str:
    """Return settings as the keyword `options` wants them; of those named twice the later one holds."""
    merged = {name: value for each in settings for name, value in each.items()}
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in merged.items())


def _escaped(value: str) -> str:
    return "".join(f"\\{char}" if char.isspace() or char == "\\" else char for char in value)


def forget_environment() -> None:
    """Hide the variables that libpq reads from it: of some no keyword has its way (PGSERVICE, PGDATESTYLE, PGTZ).

    os.environ keeps them, for a policy may name one as the place of a secret.
    """
    named = [each.envvar.decode() for each in pq.Conninfo.get_defaults() if each.envvar]
    for name in (*named, *_MORE_VARIABLES):
        os.unsetenv(name)


def settle_encoding(connection: psycopg.Connection[Any]) -> None:
    """Have text come as str, whatever the encoding of the database; connection came about with SQL_ASCII.

    So it comes about always: that with UTF8 is refused where the server has no conversion. A name that another database
    gave may be of any bytes everywhere.
    """
    for kind in _TEXT:
        connection.adapters.register_loader(kind, AnyText)
    if connection.info.parameter_status("server_encoding") not in _RAW:
        connection.execute("set client_encoding to 'UTF8'")
