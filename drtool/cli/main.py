"""Where drtool begins: the table of commands, and what ends them. Imports little, so that `--help` is there at once."""

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, Final, NoReturn

import click
from click.shell_completion import CompletionItem

from drtool import __version__
from drtool.cli.exits import ENDING, Terminate
from drtool.errors import UsageError

# Each is `command` in the module of its name, imported when it is called: `drtool --help` imports none of them.
COMMANDS: Final = {
    "init": "Make the repository of a policy, and its recovery kit.",
    "policy": "Check a policy, show it with its defaults, print its schema.",
    "backup": "Back up the volumes of a policy.",
    "wal": "Bring PostgreSQL's WAL into the repository.",
    "doctor": "Say whether everything is there that a backup needs, and print what mends the rest.",
    "status": "Say what would be lost now, volume by volume.",
    "points": "List the recovery points.",
    "plan": "Say how everything would come back into a cluster, and what speaks against it.",
    "restore": "Bring one volume back into a directory, or a whole system into a cluster.",
    "queues": "List what is held of a broker's queues, give it back, or delete it.",
    "verify": "Read the repository back and prove it.",
    "render": "Write what runs a policy on Kubernetes, as a folder of kustomize.",
    "keys": "Make and prove keys, and say what each role may do in the bucket.",
    "demo": "Lose real servers and get them back, on this machine.",
    "completion": "Print the completion script of a shell.",
}
_MAIN: Final = threading.main_thread()
_CLEARED_S: Final = 2.0  # of the grace that who is asked to end is given
HIDDEN: Final = ("mover",)  # what pods of drtool's own run, and nobody else


class Drtool(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands, in the order of a repository's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of that name, imported now."""
        if cmd_name not in COMMANDS and cmd_name not in HIDDEN:
            return None
        command: click.Command = import_module(f"drtool.cli.{cmd_name}").command
        if not gc.isenabled():  # as `main` left it: what was imported stays, and need not be looked through
            gc.freeze()
            gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that args begin with. Raises UsageError with the nearest there is."""
        if args and args[0] not in (*COMMANDS, *HIDDEN) and not args[0].startswith("-"):
            from difflib import get_close_matches  # noqa: PLC0415 - loads what only a slip needs

            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean `drtool {near[0]}`?" if near else "`drtool --help` lists the commands."
            raise UsageError(f"there is no command {args[0]}", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands with what they do, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin with incomplete, from the table."""
        found = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run the command of args; every error ends here. Leaves by SystemExit with the command's exit code."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            code = super().main(arguments, *rest, **extra)
        except click.exceptions.NoArgsIsHelpError as fault:
            fault.show()
            code = fault.exit_code
        except (Exception, Terminate) as fault:  # noqa: BLE001 - the last place that can put it into words
            from drtool.cli.failure import tell  # noqa: PLC0415 - loads what only an error needs

            code = tell(fault, arguments)
        sys.exit(code)


def _on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    ENDING.set()
    raise Terminate


def _on_sigint(_signal: int, _frame: FrameType | None) -> NoReturn:
    ENDING.set()
    raise KeyboardInterrupt


@click.group(cls=Drtool, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="drtool")
def drtool() -> None:
    """Disaster recovery that is proven: back up PostgreSQL and Redis, get them back to a moment, know that it works.

    Begin with a policy file: `drtool policy check`, `drtool init`, `drtool backup`, `drtool status`.
    """


def main() -> NoReturn:
    """Run drtool on this process's arguments."""
    gc.disable()  # until the command is loaded: hundreds of modules make no garbage, and much to look through
    signal.signal(signal.SIGTERM, _on_sigterm)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as for what a shell starts in the background
        signal.signal(signal.SIGINT, _on_sigint)
    try:
        drtool.main(prog_name="drtool")
    except SystemExit as end:
        if ENDING.is_set() and not all(each.daemon for each in threading.enumerate() if each is not _MAIN):
            _leave(end)
        raise


def _leave(end: SystemExit) -> NoReturn:
    """End the process as end says, though threads wait for a store: whoever was asked to end has to, in time.

    What was registered to be done at the end is done: the Kubernetes client keeps the keys of a kubeconfig in files
    until then. It may wait for a thread that hangs, and is not waited for.
    """
    clearing = threading.Thread(target=_clear, daemon=True)
    clearing.start()
    clearing.join(_CLEARED_S)
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(end.code if isinstance(end.code, int) else 1)


def _clear() -> None:
    with suppress(Exception):
        atexit._run_exitfuncs()  # noqa: SLF001 - nothing public runs them, and os._exit does not
