"""The last place of every error: into words, and an exit code. Loaded only where something failed."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb

import click

from drtool.cli.exits import Interrupted, Terminate, Terminated
from drtool.cli.job import report_error
from drtool.cli.output import say_error, say_traceback
from drtool.errors import DrtoolError, UsageError


def tell(fault: BaseException, arguments: Sequence[str]) -> int:
    """Print what went wrong; return its exit code.

    The options are looked for as they were typed, for it may be the parsing that failed.
    """
    error = _as_error(fault)
    if "--debug" in arguments or os.environ.get("DRTOOL_DEBUG"):
        say_traceback(fault)
    say_error(error, as_json="--json" in arguments)
    report_error(error, next(iter(arguments), "drtool"))
    return error.exit_code


def _as_error(fault: BaseException) -> DrtoolError:
    match fault:
        case DrtoolError():
            return fault
        case click.ClickException():
            return _usage_error(fault)
        case click.Abort() | Terminate():
            return _stopped(fault)
        case OSError(strerror=reason, filename=file) if reason:
            told = f"{file}: {reason}" if file else f"the system refuses: {reason}"
            return DrtoolError(told, hint=_room_hint(fault.errno, reason))
    return _unexpected(fault)


def _room_hint(number: int | None, reason: str) -> str:
    """Return what helps where a disk is full; a full scratch folder is no errno, but a sentence of Python's."""
    if "temporary directory" in reason:
        return "Make room there, or name another folder in TMPDIR, and run it again."
    return "Make room there, and run it again." if number in (errno.ENOSPC, errno.EDQUOT) else ""


def _stopped(fault: BaseException) -> DrtoolError:
    """Return the error for click's Abort, which is Ctrl-C, or for SIGTERM."""
    hint = "What was listed before is untouched; run it again."
    if isinstance(fault, click.Abort):
        return Interrupted("interrupted", hint=hint)
    return Terminated("terminated", hint=hint)


def _usage_error(fault: click.ClickException) -> UsageError:
    context = fault.ctx if isinstance(fault, click.UsageError) else None
    path = context.command_path if context else "drtool"
    message = fault.format_message().removesuffix(".")
    return UsageError(message[:1].lower() + message[1:], hint=f"`{path} --help` shows how it is used.")


def _unexpected(fault: BaseException) -> DrtoolError:
    """Return an error that says where, and not what: the text of an error that nobody foresaw may hold a secret."""
    frames = extract_tb(fault.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return DrtoolError(
        f"drtool met an error that it does not know: {type(fault).__name__}{place}",
        hint="Run it again with --debug to see where it came from, and report that.",
    )
