import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drtool.cli.output import Answer, encode, say, say_error
from drtool.cli.progress import make_progress
from drtool.cli.table import Table
from drtool.errors import Refused
from drtool.operations.results import InitResult
from drtool.policy.secret import Secret
from drtool.repository.format.crypto import SigningKey
from tests.cli.terminal import run_on_terminal


@dataclass(frozen=True)
class Sample:
    at: datetime
    exposure: timedelta | None
    rpo: timedelta
    files: tuple[Path, ...]
    seed: str = field(repr=False)


def test_a_dataclass_becomes_json_with_units_and_without_what_its_repr_hides() -> None:
    sample = Sample(datetime(2026, 1, 2, tzinfo=UTC), None, timedelta(minutes=15), (Path("/a"),), "hidden")
    assert encode(sample) == {
        "at": "2026-01-02T00:00:00Z",
        "exposure_seconds": None,
        "rpo_seconds": 900.0,
        "files": ["/a"],
    }


@pytest.mark.parametrize("value", [Secret("s3cret"), SigningKey(bytes(32)), b"bytes", object(), Sample])
def test_a_secret_or_what_is_no_plain_value_never_becomes_json(value: object) -> None:
    with pytest.raises(TypeError, match="has no form in JSON"):
        encode({"inside": [value]})


def test_a_new_repository_becomes_json_without_its_keys() -> None:
    result = InitResult("forum", "ab", "file:///x", ("one",), {"one": "KIT"}, "SHEET", "BUNDLE")
    assert not {"KIT", "SHEET", "BUNDLE"} & set(str(encode(result)).split("'"))


def test_an_answer_begins_with_its_verdict_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    code = say(Answer("status", "verdict", "advice", {}, ["more"], exit_code=9), as_json=False)
    assert capsys.readouterr().out.splitlines() == ["verdict", "advice", "more"]
    assert code == 9


def test_an_answer_as_json_is_one_object_with_schema_and_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say(Answer("status", "verdict", "advice", {"red": True}, ["more"], exit_code=9), as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "schema": "drtool/status/v1",
        "exit_code": 9,
        "verdict": "verdict",
        "red": True,
    }


def test_an_error_is_printed_on_stderr_and_for_programs_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(Refused("no", hint="Do this."), as_json=True)
    printed = capsys.readouterr()
    assert printed.err == "error: no\nhint: Do this.\n"
    assert json.loads(printed.out) == {
        "schema": "drtool/error/v1",
        "error": {"message": "no", "hint": "Do this.", "exit_code": 5, "kind": "Refused"},
    }


def test_a_table_of_an_answer_has_all_its_columns_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    say(
        Answer("points", "verdict", "advice", {}, [Table(("A", "B"), [("x" * 20, "y")], ("B",))]),
        as_json=False,
    )
    assert capsys.readouterr().out.splitlines()[2:] == ["", f"A{' ' * 19}  B", f"{'x' * 20}  y"]


def test_a_table_of_an_answer_is_as_wide_as_the_terminal() -> None:
    code = (
        "from drtool.cli.output import Answer, say; from drtool.cli.table import Table\n"
        "table = Table(('A', 'B'), [('x' * 70, 'y' * 20)], ('B',))\n"
        "say(Answer('points', 'verdict', 'advice', {}, [table]), as_json=False)"
    )
    _, shown = run_on_terminal(["env", "COLUMNS=80", sys.executable, "-c", code])
    assert "x" * 70 in shown
    assert "yy" not in shown
    assert "(left out for want of width: B; --json has them)" in shown


def test_what_others_said_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "a\x1b[2J\x9b2Kb\u202ec"
    harmless = "a\\u001b[2J\\u009b2Kb\\u202ec"
    answer = Answer("x", evil, evil, {"said": evil}, [evil, Table(("H",), [(evil,)])])
    say(answer, as_json=False)
    say_error(Refused(evil, hint=f"{evil}."), as_json=False)
    printed = capsys.readouterr()

    assert [line for line in printed.out.splitlines() if line not in ("", "H")] == [harmless] * 4
    assert printed.err == f"error: {harmless}\nhint: {harmless}.\n"
    say(answer, as_json=True)
    told = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\u202e"} & set(told)
    assert json.loads(told)["said"] == evil


def test_a_note_beside_the_progress_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    make_progress("plain").note("a\x1b[2Jb")

    assert capsys.readouterr().err == "note: a\\u001b[2Jb\n"
