"""The admin sheet and the credentials that a new writer is enrolled with: given by options, or typed on a terminal."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, Protocol

import click

from drtool.cli.output import say_aside
from drtool.errors import UsageError
from drtool.operations.cluster_restore.replay import Enrolment
from drtool.operations.cluster_restore.results import not_at_hand
from drtool.repository.format.crypto import SigningKey
from drtool.repository.kit import parse_seed

_LINE: Final = "DRTOOL-ADMIN-"


class Ask(Protocol):
    """Who is asked: what is typed is shown, or hidden."""

    def __call__(self, question: str, *, is_hidden: bool) -> str:
        """Return what was typed."""
        ...


def given_enrolment(
    admin_key_file: Path | None, folder: Path | None, when: Literal["now", "later"]
) -> Enrolment | None:
    """Return what the options give, None where they give nothing. Raises UsageError where they do not fit."""
    if when == "later" and (admin_key_file is not None or folder is not None):
        raise UsageError(
            "--enrol later enrols no new writer, and takes neither --admin-key-file nor --writer-secrets",
            hint="Leave --enrol later out, or both of these.",
        )
    if (admin_key_file is None) != (folder is None):
        raise UsageError(
            "a new writer takes the admin sheet, and what it logs in to the store with",
            hint="Give --admin-key-file FILE and --writer-secrets DIR; or neither: on a terminal both are asked for, "
            "and with --enrol later nothing is backed up until one is enrolled by hand.",
        )
    if admin_key_file is None or folder is None:
        return None
    return Enrolment(admin_key_file, folder)


def ask_enrolment(files: Sequence[str], ask: Ask | None = None) -> Enrolment:
    """Return what somebody types: the admin's key, hidden, and the folder that has files. Raises Refused."""
    if ask is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise not_at_hand()
    asking = ask or _ask
    say_aside(
        "A new writer takes over in the end, so that what comes back is backed up: it takes the admin sheet."
    )
    admin_key = _admin_key(asking)
    if not files:
        return Enrolment(admin_key, Path())
    said = asking(f"The folder of what it logs in to the store with ({', '.join(files)}): ", is_hidden=False)
    if not said.strip():
        raise not_at_hand()
    return Enrolment(admin_key, _path_of(said.strip()))


def _path_of(said: str) -> Path:
    """Return the path that was typed: a ~ that names nobody's home is a part of it, as in a shell."""
    with suppress(RuntimeError):
        return Path(said).expanduser()
    return Path(said)


def _admin_key(ask: Ask) -> SigningKey | Path:
    """Return the key that was typed, or the file that has it. What was mistyped can be typed again."""
    while True:
        said = ask(
            f"Its {_LINE} line, or the file that has it (hidden; an empty line stops here): ", is_hidden=True
        )
        said = said.strip()
        if not said:
            raise not_at_hand()
        with suppress(OSError, ValueError):  # of what is no path: it is mistyped, and never told
            if not said.startswith(_LINE) and _path_of(said).is_file():
                return _path_of(said)
        try:
            return parse_seed(said, "ADMIN")
        except UsageError as fault:
            say_aside(f"{fault.message}: type it again")


def _ask(question: str, *, is_hidden: bool) -> str:
    return str(
        click.prompt(
            question, prompt_suffix="", default="", show_default=False, hide_input=is_hidden, err=True
        )
    )
