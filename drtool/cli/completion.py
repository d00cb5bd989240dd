"""`drtool completion`: the script that makes a shell complete drtool's commands, options and volumes."""

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from drtool.cli.exits import exit_codes
from drtool.cli.output import say_text

VARIABLE: Final = "_DRTOOL_COMPLETE"
SHELLS: Final = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion", epilog=exit_codes())
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(drtool completion bash)" in ~/.bashrc.
    """
    say_text(SHELLS[shell](context.find_root().command, {}, "drtool", VARIABLE).source())
