"""What drtool's own connections pin: nothing of the operator's environment, of roles and of databases reaches them.

A setting that a connection brings along outranks those of ALTER ROLE, ALTER DATABASE and ALTER ROLE IN DATABASE.
"""

import os
from collections.abc import Mapping
from typing import Final

from psycopg import pq

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
SINCE_17: Final[Mapping[str, str]] = {"transaction_timeout": "0"}  # an older server refuses to know it
# These are read by psycopg, too, which knows the environment by os.environ: they have to be said.
KEYWORDS: Final[Mapping[str, str]] = {"client_encoding": "UTF8", "target_session_attrs": "any"}

# Beside those that are a keyword's: libpq sends the first three as settings, whatever the keywords say.
_MORE_VARIABLES = ("PGDATESTYLE", "PGTZ", "PGGEQO", "PGSERVICEFILE", "PGSYSCONFDIR", "PGREALM", "PGLOCALEDIR")


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
