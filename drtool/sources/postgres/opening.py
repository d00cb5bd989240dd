"""What a connection to the source is opened with, so that no setting of the server or its role decides how it goes.

A server, a database and a role may have a DateStyle that psycopg cannot read, or a statement_timeout that ends what
drtool asks. A pooler may refuse settings that come with the connection, so what SQL can set is set afterwards.
"""

from typing import Final, LiteralString

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import TupleRow

from drtool.sources.postgres.pinned import COMMON, KEYWORDS, SINCE_17, forget_environment, options
from drtool.sources.postgres.raw_names import AnyText

_TEXT: Final = ("text", "name", "varchar", "bpchar", '"char"')
_NEVER: Final = (
    "role",
    "local_preload_libraries",
    "quote_all_identifiers",
)  # the role's affair, or of no effect here
_PINS: Final = {name: value for name, value in {**COMMON, **SINCE_17}.items() if name not in _NEVER}
# A walsender takes no SET, and is ended when it is idle, too. Poolers refuse replication before they read this.
_WALSENDER: Final = options({name: COMMON[name] for name in ("idle_session_timeout", "statement_timeout")})
# psycopg looks these up in os.environ where they are not said; empty ones are as none.
_LOOKED_UP: Final = {**KEYWORDS, "hostaddr": "", "load_balance_hosts": "disable"}

# Only what differs is set: a pooler may hand the session on to the application. DateStyle says two things at once.
_PIN: LiteralString = """
    select set_config(name, value, false) from unnest(%s::text[], %s::text[]) pinned (name, value)
    where split_part(current_setting(name, true), ',', 1) <> value"""


def neutral_parameters(*, replication: bool) -> dict[str, str]:
    """Return the keywords of a connection to which the policy's are added; the environment has no say any more."""
    forget_environment()
    return {**_LOOKED_UP, "options": _WALSENDER if replication else ""}


def pin_session(connection: psycopg.Connection[TupleRow]) -> None:
    """Set what would change how answers look, or how long they may take. Raises psycopg.Error."""
    for kind in _TEXT:
        connection.adapters.register_loader(kind, AnyText)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        connection.execute("set client_encoding = 'SQL_ASCII'")  # else the server refuses what is no UTF-8
    pins = (list(_PINS), list(_PINS.values()))
    try:
        connection.execute(_PIN, pins)
    except psycopg.errors.QueryCanceled:  # by a statement_timeout that is too short even for that
        connection.execute("set statement_timeout = 0")
        connection.execute(_PIN, pins)


def as_bytes(connection: psycopg.Connection[TupleRow]) -> None:
    """Hand text out as the bytes that came: a path may be any."""
    for kind in _TEXT:
        connection.adapters.register_loader(kind, _Bytes)


class _Bytes(Loader):
    def load(self, data: Buffer) -> bytes:
        return bytes(data)
