"""`drtool completion`: the script that makes a shell complete drtool's commands, options and volumes."""

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from drtool.cli.exits import exit_codes
from drtool.cli.options import Invocation, common
from drtool.cli.output import Answer, say_text

VARIABLE: Final = "_DRTOOL_COMPLETE"
SHELLS: Final = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion", epilog=exit_codes())
@click.argument("shell", type=click.Choice(list(SHELLS)))
@common()
def command(invocation: Invocation, shell: str) -> int:
    """Print the completion script of a shell.

    For bash: eval "$(drtool completion bash)" in ~/.bashrc.
    """
    root = click.get_current_context().find_root().command
    script = SHELLS[shell](root, {}, "drtool", VARIABLE).source()
    if invocation.as_json:
        facts = {"shell": shell, "script": script}
        return invocation.say(Answer("completion", f"completion: for {shell}", "", facts))
    say_text(script)
    return 0
