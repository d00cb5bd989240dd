"""How the demo speaks: short lines on stdout, and every drtool command that it runs, with that command's verdict."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drtool.demo.interrupts import no_interrupts
from drtool.errors import DrtoolError

WIDTH = 110
STOP_S = 30  # a command that is told to end stops the servers that it started


class Console:
    """Prints the story, and runs drtool in a directory, as a user would in a shell."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = dict(environment)

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._write(f"\n{title}")

    def say(self, text: str) -> None:
        """Say something in the part under way."""
        for line in textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    "):
            self._write(line)

    def drtool(self, line: str) -> dict[str, Any]:
        """Run `drtool LINE --json`, print it with its verdict, and return its answer.

        Raises DrtoolError, with the command's own message and hint, if it does not end with 0.
        """
        self._write(f"  $ drtool {line}")
        argv = [sys.executable, "-m", "drtool", *line.split(), "--json", "--progress", "none"]
        code, printed, told = self._run(argv)
        try:
            answer: dict[str, Any] = json.loads(printed)
        except ValueError as fault:
            raise DrtoolError(f"`drtool {line}` ended with {code}: {told.strip()}") from fault
        if code != 0:
            raise DrtoolError(f"`drtool {line}` ended with {code}: {'; '.join(_faults(answer))}")
        self._write(f"      {answer['verdict']}")
        return answer

    def _run(self, argv: list[str]) -> tuple[int, str, str]:
        """Run argv to its end; return exit code, stdout, stderr. Interrupted, it is told to end, and waited for."""
        with subprocess.Popen(
            argv,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo alone, which tells its children once
        ) as child:
            try:
                printed, told = child.communicate()
            except BaseException:
                with no_interrupts():
                    _end(child)
                raise
        return child.returncode, printed, told

    def _write(self, line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _faults(answer: Mapping[str, Any]) -> list[str]:
    """Return what an answer says went wrong: the command as a whole, or single volumes."""
    failed = [answer, *answer.get("volumes", [])]
    faults = [part["error"] for part in failed if part.get("error")]
    return [" ".join([fault["message"], fault["hint"]]).strip() for fault in faults] or [answer["verdict"]]


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
