"""What a server's error replies mean, and what to do about each."""

import re

from drtool.errors import DrtoolError, SourceUnavailable, TemporaryFailure


class CommandRefused(SourceUnavailable):
    """The server knows us, but will not run this one command: no right to it, or it was renamed."""

    @property
    def is_right(self) -> bool:
        """Whether it is a right that is missing, which ACL SETUSER can grant."""
        return "does not let" in self.message


CAPTURE_NEEDS = ("psync", "replconf", "ping", "info")
KEEP_IT = "Keep it with ACL SAVE, or in the server's configuration; ACLs are not replicated."
WAITING_HELPS = {
    "LOADING": "is still loading its data",
    "NOMASTERLINK": "is a replica that has lost its master",
    "MASTERDOWN": "is a replica that has lost its master",
    "BUSY": "is busy with a script",
}
PERMISSION = re.compile(r"'([a-z0-9_|-]+)' (?:command|subcommand)", re.IGNORECASE)


def translate(text: str, command: str, server: str, user: str = "default") -> DrtoolError:
    """Return the error that says what the server's reply to user's command means.

    Its text is quoted only where it repeats none of our words, for they may hold a password.
    """
    word = text.partition(" ")[0]
    if word in WAITING_HELPS:
        return TemporaryFailure(f"redis at {server} {WAITING_HELPS[word]}", hint="Try again in a moment.")
    if "max number of clients" in text:
        return TemporaryFailure(
            f"redis at {server} has no connection left", hint="Raise maxclients, or try again."
        )
    if word in ("NOPERM", "NOAUTH", "WRONGPASS", "DENIED") or command.upper() == "AUTH":
        return _no_right(text, command, server, user) if word == "NOPERM" else _not_let_in(word, text, server)
    if "unknown command" in text or "unknown subcommand" in text.lower():
        return CommandRefused(
            f"redis at {server} does not know the command {command.upper()}",
            hint=f"It was renamed or turned off in the server's configuration; drtool needs {command.upper()}.",
        )
    return SourceUnavailable(
        f"redis at {server} refuses {command.upper()}: {text}", hint="The server's log may say more."
    )


def _no_right(text: str, command: str, server: str, user: str) -> CommandRefused:
    """Return the error with the statement that grants what is missing: all that a capture needs, if that is of it."""
    found = PERMISSION.search(text)
    missing = (found[1] if found else command).lower()
    grants = " ".join(f"+{right}" for right in (CAPTURE_NEEDS if missing in CAPTURE_NEEDS else (missing,)))
    return CommandRefused(
        f"redis at {server} does not let user {user} run {missing.upper()}",
        hint=f"Say there: `ACL SETUSER {user} {grants}`. {KEEP_IT}",
    )


def _not_let_in(word: str, text: str, server: str) -> SourceUnavailable:
    if word == "NOAUTH":
        return SourceUnavailable(
            f"redis at {server} asks for a password", hint="Give password in the policy."
        )
    if word == "DENIED":
        return SourceUnavailable(
            f"redis at {server} is in protected mode, and lets in only its own machine",
            hint="Set a password on the server, or bind it to an address.",
        )
    if "without any password configured" in text:
        return SourceUnavailable(
            f"redis at {server} has no password, but the policy gives one",
            hint="Take password out of the policy, or check that this is the right server.",
        )
    return SourceUnavailable(
        f"redis at {server} does not accept this user and password",
        hint="Check user and password in the policy against the server's ACL LIST.",
    )
