"""`python -m tests.cluster.load run|compare`: write to a site by the ledger, and hold what came back against it."""

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from drtool.errors import DrtoolError, NotProven, UsageError
from tests.cluster.load.compare import Comparison, Found, compare
from tests.cluster.load.generator import PACE, Generator
from tests.cluster.load.inventory import ask_site, read_postgres
from tests.cluster.load.ledger import KINDS, Kind, LedgerFile, read_ledger
from tests.cluster.load.site import Session, Site

SAY_EVERY_S = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 4 if the comparison is not exact, or that of a DrtoolError."""
    options = _parser().parse_args(argv)
    try:
        options.command(options)
    except DrtoolError as error:
        print(
            f"error: {error.message}",
            *([f"hint: {error.hint}"] if error.hint else []),
            sep="\n",
            file=sys.stderr,
        )
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Write until the time is over, or a signal says so; then print the achieved rates as JSON.

    Raises DrtoolError if nothing was acknowledged: a ledger without a promise judges no restore.
    """
    if options.password_env not in os.environ:
        raise UsageError(f"{options.password_env} is not set", hint="Put the user's password into it.")
    site = Site(options.url, options.host)
    session = Session(options.user, os.environ[options.password_env])
    pace = _pace(options)
    with LedgerFile(options.ledger) as ledger:
        generator = Generator(site, session, ledger, pace)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        generator.start()
        try:
            _watch(generator, options.seconds)
        except KeyboardInterrupt:
            generator.abort()
        else:
            generator.stop()
    achieved = generator.achieved()
    print(json.dumps(achieved))
    if not any(each["acknowledged"] for each in achieved.values()):
        raise DrtoolError(
            f"nothing at all was acknowledged: {generator.last_trouble or 'no write was refused either'}",
            hint="See whether --url and --host reach the site, or write for longer or at a higher pace.",
        )


def _pace(options: argparse.Namespace) -> dict[Kind, float]:
    """Return how many writes a second are asked for. Raises UsageError if that is no pace."""
    asked: dict[str, float] = {name: getattr(options, name) for name in ("commits", "uploads", "tasks")}
    for name, rate in asked.items():
        if rate < 0 or not math.isfinite(rate):
            raise UsageError(f"--{name} {rate:g} is no pace", hint="Give writes a second; 0 is none of them.")
    return {"posts": asked["commits"], "uploads": asked["uploads"], "tasks": asked["tasks"]}


def _watch(generator: Generator, seconds: float) -> None:
    """Say how it goes until the time is over."""
    end = time.monotonic() + seconds
    while not generator.is_stopped and (left := end - time.monotonic()) > 0:
        generator.wait(min(left, SAY_EVERY_S))
        _say(generator)


def _say(generator: Generator) -> None:
    for kind, achieved in generator.achieved().items():
        print(
            f"{kind}: {achieved['a_second']}/s, {achieved['repeated']:g} repeated", end="; ", file=sys.stderr
        )
    print(generator.last_trouble or "no trouble", file=sys.stderr)


def judge(options: argparse.Namespace) -> None:
    """Print how what is there differs from the ledger.

    Raises NotProven if it does, UsageError if nothing in the ledger was acknowledged.
    """
    ledger = read_ledger(options.ledger)
    if options.until:
        ledger = ledger.until(options.until)
    look = _look(options)
    end = time.monotonic() + options.settle
    while True:
        comparison = compare(ledger, {kind: look(kind) for kind in KINDS})
        if not comparison.of("tasks").missing or time.monotonic() > end:
            break
        time.sleep(1)
    _print(comparison, as_json=options.json)
    if not comparison.is_exact:
        raise NotProven("what came back is not what was acknowledged")


def _look(options: argparse.Namespace) -> Callable[[Kind], list[Found]]:
    """Return how to find what there is of a kind. Raises UsageError if the folder of media is none."""
    if options.media and not options.media.is_dir():
        raise UsageError(f"{options.media} is no folder", hint="Name the one that holds uploads/.")
    if options.postgres is not None:
        return lambda kind: read_postgres(options.postgres, kind, options.media)
    site = Site(options.url, options.host)
    return lambda kind: ask_site(site, kind, replica=options.replica)


def _print(comparison: Comparison, *, as_json: bool) -> None:
    print(json.dumps(comparison.value(), indent=2) if as_json else comparison.text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.load", description=__doc__)
    commands = parser.add_subparsers(required=True)
    writing = commands.add_parser("run", help="write to a site at a steady pace")
    writing.set_defaults(command=run)
    writing.add_argument("--url", required=True, help="http://HOST:PORT of the site")
    writing.add_argument("--seconds", type=float, required=True)
    writing.add_argument("--commits", type=float, default=PACE["posts"], help="posts a second")
    writing.add_argument("--uploads", type=float, default=PACE["uploads"], help="uploads a second")
    writing.add_argument("--tasks", type=float, default=PACE["tasks"], help="tasks a second")
    writing.add_argument("--user", required=True)
    writing.add_argument(
        "--password-env", required=True, metavar="NAME", help="the variable with the password"
    )

    judging = commands.add_parser(
        "compare", help="hold what is there against the ledger; 4 if it is not exact"
    )
    judging.set_defaults(command=judge)
    where = judging.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="ask the site at http://HOST:PORT")
    where.add_argument(
        "--postgres", metavar="CONNINFO", help="read a database; PGPASSWORD may hold its password"
    )
    judging.add_argument("--replica", action="store_true", help="ask the site for what its read replica has")
    judging.add_argument("--media", type=Path, help="the folder of uploads, beside --postgres")
    judging.add_argument("--until", type=datetime.fromisoformat, help="judge a restore to this moment")
    judging.add_argument("--settle", type=float, default=0, help="seconds to wait for tasks to be done")
    judging.add_argument("--json", action="store_true")
    for each in (writing, judging):
        each.add_argument("--ledger", type=Path, required=True, metavar="FILE")
        each.add_argument("--host", metavar="HEADER", help="the Host header, where an Ingress asks for it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
