"""What PostgreSQL says when it refuses, in drtool's words: which error, what it names, what to do next.

Before a connection stands libpq hands out no SQLSTATE, only text, so connections are told apart by the
English messages of PostgreSQL (`postmaster.c`, `auth.c`, `postinit.c`, `walsender.c`). What is not known stays
as the server said it. On an open connection the SQLSTATE decides.
"""

from dataclasses import dataclass

from drtool.errors import DrtoolError, Refused, SourceUnavailable, TemporaryFailure


class PagesDamaged(SourceUnavailable):
    """The server finds its own pages damaged (SQLSTATE XX001)."""


class SourceOutage(SourceUnavailable):
    """The server cannot be reached, or ended the connection. The one kind of this error that is worth a retry."""


class CannotReplicate(Refused):
    """The server is set to have no walsender at all: neither waiting nor trying again helps."""


class SlotInUse(TemporaryFailure):
    """Another receiver uses the slot: a follower, a catch-up, or the one beside a base backup."""


class WalGone(SourceUnavailable):
    """The server no longer has the WAL that is next: a gap. Its slot was lost, or there was none."""


POOLER_HINT = (
    "Name the PostgreSQL server itself as host: neither a base backup nor WAL goes through a pooler."
)


@dataclass(frozen=True, slots=True)
class _Fault:
    """One way to be refused: the texts that mean it, and what a person reads. {who} is user@host:port."""

    texts: tuple[str, ...]
    message: str
    hint: str
    kind: type[DrtoolError] = SourceUnavailable


# The first that fits counts, so the special stand before the general.
_FAULTS = (
    _Fault(
        (
            "unsupported startup parameter: replication",
            "unsupported startup parameter in options",
        ),
        "PgBouncer answers at {who}, and it does not pass replication connections on",
        POOLER_HINT,
    ),
    _Fault(
        ("pgpool", "odyssey", "pgcat", "no such database: replication"),
        "a pooler answers at {who}, not PostgreSQL",
        POOLER_HINT,
    ),
    _Fault(
        ("the database system is", "terminating connection due to administrator command"),
        "PostgreSQL at {who} accepts no connections now",
        "It is starting, stopping or recovering; try again.",
        TemporaryFailure,
    ),
    _Fault(
        ("for replication connection", "rejects replication connection"),
        "pg_hba.conf of the server has no line that lets {who} replicate",
        "Add a line such as `host replication {user} ADDRESS scram-sha-256` and reload the server.",
    ),
    _Fault(
        ("no pg_hba.conf entry", "pg_hba.conf rejects"),
        "pg_hba.conf of the server has no line that lets {who} in",
        "Add a line such as `host all {user} ADDRESS scram-sha-256` and reload the server.",
    ),
    _Fault(
        ("replication role to start walsender", "permission denied to start wal sender"),
        "the role of {who} has no REPLICATION right",
        'Run `ALTER ROLE "{user}" REPLICATION` on the server.',
    ),
    _Fault(
        ("max_wal_senders (currently 0)", 'max_wal_senders" (currently 0)'),
        "the server at {who} cannot replicate: max_wal_senders is 0",
        "Run `ALTER SYSTEM SET wal_level = 'replica'` and `ALTER SYSTEM SET max_wal_senders = '10'`, and restart the "
        "server.",
        CannotReplicate,
    ),
    _Fault(
        ("requested standby connections exceeds",),
        "PostgreSQL at {who} has no free walsender",
        "Wait until another backup has ended, or raise max_wal_senders to at least 2 above the standbys.",
        TemporaryFailure,
    ),
    _Fault(
        (
            "too many clients already",
            "remaining connection slots",
            "too many connections for role",
        ),
        "PostgreSQL at {who} has no free connection",
        "Try again later, or raise max_connections or the role's connection limit.",
        TemporaryFailure,
    ),
    _Fault(
        ("password authentication failed", "no password supplied", "scram exchange"),
        "PostgreSQL refuses the password of {who}",
        "Check the secrets that the policy names for user and password; PGPASSWORD counts only where it is one.",
    ),
    _Fault(
        ('fatal:  role "', "is not permitted to log in"),
        "PostgreSQL at {who} knows no such role or database",
        "Create the role with LOGIN and REPLICATION, or check the user's name in the policy.",
    ),
    _Fault(
        ("does not exist",),
        "PostgreSQL at {who} knows no such role or database",
        "Check the database's name in the policy.",
    ),
    _Fault(
        ("server closed the connection unexpectedly",),
        "what answers at {who} closed the connection while connecting",
        "It is likely a proxy or load balancer without a PostgreSQL behind it, or a server that starts or ends: look "
        "there, and try again.",
        SourceOutage,
    ),
    _Fault(
        ("server does not support ssl", "certificate", "ssl error", "tls"),
        "no TLS connection to PostgreSQL at {who}",
        "Check sslmode and sslrootcert of the volume against the server's certificate.",
    ),
    _Fault(
        ("could not translate host name", "name or service not known", "failed to resolve"),
        "the host of {who} has no address",
        "Check the volume's host, and whether DNS answers from here.",
        SourceOutage,
    ),
    _Fault(
        ("connection refused", "timeout", "timed out", "no route to host", "unreachable", "no such file"),
        "PostgreSQL at {who} is unreachable",
        "Check that it runs, the volume's host and port, and the network policies between here and there.",
        SourceOutage,
    ),
)

# What an SQLSTATE, or its class, means on an open connection where it means: later it may work.
_PASSING: dict[str, type[DrtoolError]] = {
    "53": TemporaryFailure,
    "55006": SlotInUse,
    "57P01": SourceOutage,
    "57P02": SourceOutage,
    "57P03": TemporaryFailure,
}


def connection_fault(who: str, user: str, text: str) -> DrtoolError:
    """Return the error for a connection that did not come about; text is libpq's, and holds no secret."""
    lower = text.lower()
    for fault in _FAULTS:
        if any(needle in lower for needle in fault.texts):
            message = fault.message.format(who=who)
            return fault.kind(f"{message} ({_last_line(text)})", hint=fault.hint.format(user=user))
    kind = SourceUnavailable if "FATAL" in text else SourceOutage  # the server's word, or none at all
    return kind(
        f"no connection to PostgreSQL at {who}: {_last_line(text)}", hint="Look into the server's log."
    )


def command_fault(who: str, command: str, sqlstate: str | None, text: str) -> DrtoolError:
    """Return the error for a command that the server refused or did not finish.

    sqlstate is None where the connection broke. command is shown by its first words only.
    """
    said = _first_line(text)
    if sqlstate is None:
        return SourceOutage(
            f"PostgreSQL at {who} ended the connection during {command}: {said}",
            hint="Look into the server's log: it stopped, crashed, or ended this session.",
        )
    passing = next((kind for code, kind in _PASSING.items() if sqlstate.startswith(code)), None)
    if passing is not None:
        return passing(f"{command} at {who} did not work this time: {said}", hint="Try again later.")
    if sqlstate == "XX001":
        return PagesDamaged(f"PostgreSQL at {who} finds its own pages damaged: {said}", hint=_hint(sqlstate))
    if command == "START_REPLICATION" and sqlstate in ("58P01", "55000"):
        return WalGone(
            f"PostgreSQL at {who} no longer has the WAL that is next: {said}",
            hint="There is a gap now: make the slot anew and take a base backup at once.",
        )
    refused = f"PostgreSQL at {who} refuses {command}: {said} ({sqlstate})"
    return SourceUnavailable(refused, hint=_hint(sqlstate))


def _hint(sqlstate: str) -> str:
    if sqlstate == "42501":
        return "Grant the role what the message names; REPLICATION is needed, pg_monitor is of use."
    if sqlstate == "XX001":
        return (
            "Look into the server's log for the files; restore them from an older point, and check the disk."
        )
    if sqlstate == "42704":
        return "Make what is missing: a slot is made by the next base backup."
    if sqlstate == "42601":
        return "Something between here and PostgreSQL changes the connection: name the server itself as host."
    return "Look into the server's log."


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0] or "no reason given"


def _last_line(text: str) -> str:
    """Return the line that tells most: libpq puts its newest attempt last, after its own `failed: `.

    Its question whether the server runs tells nothing, and what a tab indents goes on with the line before.
    """
    lines = [line.strip() for line in text.strip().replace("\n\t", " ").splitlines() if line.strip()]
    lines = [line.split(" Is the server running", 1)[0] for line in lines]
    return lines[-1].rsplit("failed: ", 1)[-1] if lines else "no reason given"
