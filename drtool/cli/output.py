"""The only place that prints: an answer as text or as one JSON object on stdout, errors on stderr.

An answer's first line is the verdict, its second says what to do next.
"""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from functools import singledispatch
from pathlib import PurePath
from typing import Any, TextIO, get_args

import click

from drtool.cli.table import Table
from drtool.cli.units import printable
from drtool.errors import DrtoolError
from drtool.policy.moments import exact

Style = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command says: lines for people, facts for programs.

    The facts are printed as JSON beside `schema`, `exit_code` and `verdict`. alarm: bad news, whatever the exit code.
    word adds to the verdict what a line must hold to be understood alone; is_news: something has happened.
    """

    command: str
    verdict: str
    advice: str
    facts: Mapping[str, object] = field(default_factory=dict)
    lines: Sequence[str | Table] = ()
    exit_code: int = 0
    alarm: bool = False
    word: str = ""
    is_news: bool = True

    @property
    def last_word(self) -> str:
        """The whole answer in a line."""
        return f"{self.verdict}; {self.word}" if self.word else self.verdict


def say(answer: Answer, *, as_json: bool) -> int:
    """Print answer; return its exit code, which stands whether anybody still reads the answer or not."""
    try:
        _print(answer, as_json=as_json)
    except BrokenPipeError:
        _nobody_reads(sys.stdout)
    return answer.exit_code


def _print(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        head = {
            "schema": f"drtool/{answer.command}/v1",
            "exit_code": answer.exit_code,
            "verdict": answer.verdict,
        }
        say_text(printable(json.dumps({**head, **encode(answer.facts)}, indent=2, ensure_ascii=False)))
        return
    say_text(
        click.style(
            printable(answer.verdict), fg="red" if answer.exit_code or answer.alarm else "green", bold=True
        )
    )
    say_text(printable(answer.advice))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for part in answer.lines:
        for line in part.lines(width) if isinstance(part, Table) else [printable(part)]:
            say_text(line)


def _nobody_reads(stream: TextIO) -> None:
    """Let what else goes to stream go nowhere, at the end of the process, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def say_text(text: str) -> None:
    """Print text on stdout, as it is."""
    click.echo(text)


def say_aside(text: str) -> None:
    """Print text on stderr: progress, notes, questions. The work goes on where nobody reads it any more."""
    try:
        click.echo(text, err=True)
    except BrokenPipeError:
        _nobody_reads(sys.stderr)


def say_error(error: DrtoolError, *, as_json: bool) -> None:
    """Print error on stderr; for programs as one JSON object on stdout too."""
    if as_json:
        say_text(
            json.dumps({"schema": "drtool/error/v1", "error": encode(error), **encode(error.facts)}, indent=2)
        )
    say_aside("\n".join(error_lines(error)))


def error_lines(error: DrtoolError, about: str = "") -> list[str]:
    """Return error as it is printed, about the thing that is named."""
    hint = [f"hint: {printable(error.hint)}"] if error.hint else []
    return [f"error: {about}{': ' if about else ''}{printable(error.message)}", *hint]


def say_traceback(fault: BaseException) -> None:
    """Print where fault came from, for developers."""
    say_aside("".join(traceback.format_exception(fault)).rstrip())


@singledispatch
def encode(value: object) -> Any:
    """Return value as plain JSON. Fields that a repr hides are left out; raises TypeError for what is no plain value.

    Times are UTC; a field that is a duration becomes seconds, and says so at the end of its name.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return encode({_json_name(part): getattr(value, part.name) for part in fields(value) if part.repr})
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _json_name(part: Field[Any]) -> str:
    is_duration = part.type is timedelta or timedelta in get_args(part.type)
    return f"{part.name}_seconds" if is_duration else part.name


@encode.register(str)
@encode.register(int)
@encode.register(float)
@encode.register(type(None))
def _encode_plain(value: object) -> Any:
    return value


@encode.register
def _encode_moment(value: datetime) -> Any:
    return exact(value)


@encode.register
def _encode_duration(value: timedelta) -> Any:
    return value.total_seconds()


@encode.register
def _encode_path(value: PurePath) -> Any:
    return str(value)


@encode.register
def _encode_error(value: DrtoolError) -> Any:
    kind = type(value).__name__
    return {"message": value.message, "hint": value.hint, "exit_code": value.exit_code, "kind": kind}


@encode.register(list)
@encode.register(tuple)
def _encode_list(value: Iterable[object]) -> Any:
    return [encode(item) for item in value]


@encode.register
def _encode_mapping(value: Mapping) -> Any:  # type: ignore[type-arg]  # singledispatch takes bare classes only
    return {str(name): encode(item) for name, item in value.items()}
