"""The rights that a capture needs, found by trying: who may be captured need not be allowed to read ACLs."""

from collections.abc import Mapping

from drtool.errors import SourceUnavailable
from drtool.sources.redis.connection import Connection
from drtool.sources.redis.refusals import CommandRefused

Words = tuple[str, ...]
# PSYNC as part of a FAILOVER answers with an error in any state of the server, before it has done anything, when the
# replication id is not its own: since 6.2, replication.c, syncCommand.
REQUIRED: Mapping[str, Words] = {
    "ping": ("PING",),
    "info": ("INFO", "server"),
    "replconf": ("REPLCONF", "capa", "eof"),
    "psync": ("PSYNC", "?", "-1", "FAILOVER"),
}
OPTIONAL: Mapping[str, Words] = {"config|get": ("CONFIG", "GET", "dir"), "acl|list": ("ACL", "LIST")}


def refusal_of(connection: Connection, words: Words) -> CommandRefused | None:
    """Return how the server refuses a command by right or name; what else it says of it does not matter here."""
    try:
        connection.call(*words)
    except CommandRefused as refusal:
        return refusal
    except SourceUnavailable:
        return None
    return None


def refuse_missing_rights(connection: Connection) -> None:
    """Raise the first refusal of a command that a capture needs."""
    for words in REQUIRED.values():
        if (refusal := refusal_of(connection, words)) is not None:
            raise refusal
