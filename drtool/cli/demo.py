"""`drtool demo`: the main job on real servers of this machine."""

import sys
from contextlib import nullcontext, redirect_stdout

import click

from drtool.cli.exits import exit_codes
from drtool.cli.options import Invocation, common
from drtool.cli.output import Answer
from drtool.demo.story import play


@click.command("demo", epilog=exit_codes(3, 4, 5, 6, 7, 8, 9, 75))
@click.option("--keep", is_flag=True, help="Leave the files of the demo behind.")
@common()
def command(invocation: Invocation, *, keep: bool) -> int:
    """Lose real servers and get them back, on this machine.

    Starts PostgreSQL, Redis and an S3 server on loopback ports, backs them up, destroys them, restores them and
    compares what came back with an outside ledger. Cleans up behind itself.
    """
    # The story tells itself, verdict last; where the answer is for programs, it goes out of its way.
    with redirect_stdout(sys.stderr) if invocation.as_json else nullcontext():
        play(invocation.world, keep)
    if not invocation.as_json:
        return 0
    return invocation.say(Answer("demo", "demo: every check held", "", {"kept": keep}))
