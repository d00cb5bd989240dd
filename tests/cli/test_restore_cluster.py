"""What `restore --to-cluster` takes, asks and answers, without a cluster."""

import io
import os
import pty
import select
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drtool.cli import restore_cluster
from drtool.cli.confirm import confirm
from drtool.cli.enrolment import ask_enrolment, given_enrolment
from drtool.cli.output import encode
from drtool.cli.target_options import parse_names
from drtool.errors import Refused, UsageError
from drtool.operations.cluster_restore.replay import Enrolment
from drtool.operations.cluster_restore.results import Challenge
from drtool.repository.format.crypto import SigningKey
from drtool.repository.format.text import encode_key
from tests.cli.conftest import Place, Run
from tests.cli.ended import BEGUN, GAPS, MISSED, RESTORED, TARGET, UID, UNDONE, UNPROTECTED
from tests.cli.test_answers import shown
from tests.cli.test_completion import complete

NOW = BEGUN + timedelta(hours=1)
CHALLENGE = Challenge("forum", TARGET, "gic-forum", applied=12, replaced=1)
HIDDEN = replace(CHALLENGE, target=replace(TARGET, uid=""))
AUTHORITY = "5d41402abc4b2a76b9719d911017c592ae3f0c1d3e5b6a79881726354453627a"
BELIEVED = replace(CHALLENGE, target=replace(TARGET, uid="", authority=AUTHORITY))


def test_what_stops_in_place_is_named_and_typed(capsys: pytest.CaptureFixture[str]) -> None:
    challenge = replace(
        CHALLENGE, switched=("data-db-0",), stopped=("apps/StatefulSet/db", "batch/CronJob/mail")
    )
    uid = TARGET.uid[:8]
    confirm(challenge, None, lambda _question: f"gic-forum {uid} stop db stop mail")
    said = capsys.readouterr().err
    assert "claims get another volume, of an earlier moment: data-db-0" in said
    assert "what runs stops for it: apps/StatefulSet/db, batch/CronJob/mail" in said
    with pytest.raises(Refused):
        confirm(challenge, None, lambda _question: f"gic-forum {uid}")


def test_longer_limits_that_the_admin_signs_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    challenge = replace(CHALLENGE, taken_over=("max_run of files: 10 d instead of 1 d",))
    confirm(challenge, None, lambda _question: CHALLENGE.phrase)
    assert "takes over, for good: max_run of files: 10 d instead of 1 d" in capsys.readouterr().err


def test_the_line_that_is_typed_lets_the_run_begin(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "gic-forum 3f2a91c7 "

    confirm(CHALLENGE, None, ask)
    assert asked == ["To go on, type `gic-forum 3f2a91c7`: "]
    told = capsys.readouterr().err
    for part in (
        "gic-forum",
        "context dr",
        "https://dr.example:6443",
        "v1.34.1",
        UID,
        "12 objects",
        "1 object there",
    ):
        assert part in told


@pytest.mark.parametrize("typed", ["", "yes", "gic-forum", "3f2a91c7", "gic-forum 3f2a91c8"])
def test_anything_else_touches_nothing(typed: str) -> None:
    with pytest.raises(Refused, match="not what was asked for"):
        confirm(CHALLENGE, None, lambda _: typed)


def test_who_undoes_a_run_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    confirm(CHALLENGE, None, lambda _: CHALLENGE.phrase, undo="r1")
    told = capsys.readouterr().err
    assert "About to undo run r1" in told
    assert "will be applied" not in told


def test_where_the_uid_is_hidden_the_ca_and_the_address_are_shown_and_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "gic-forum https://dr.example:6443 5d41402a"

    confirm(BELIEVED, None, ask)
    assert "uid not to be seen, CA sha256:" + AUTHORITY in capsys.readouterr().err
    with pytest.raises(Refused):
        confirm(BELIEVED, None, lambda _question: "gic-forum https://dr.example:6443")
    with pytest.raises(Refused, match="whose CA and address is sha256:5d41402a"):
        confirm(BELIEVED, TARGET.where)
    confirm(HIDDEN, None, lambda _question: "gic-forum https://dr.example:6443")
    assert "no CA is named" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("challenge", "identity"),
    [(CHALLENGE, UID), (HIDDEN, TARGET.where), (BELIEVED, f"sha256:{AUTHORITY}@{TARGET.where}")],
)
def test_where_nobody_can_type_the_cluster_is_named_by_an_option(
    monkeypatch: pytest.MonkeyPatch, challenge: Challenge, identity: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(Refused) as caught:
        confirm(challenge, None)
    assert caught.value.hint.endswith(f"--confirm-target {identity}.")
    confirm(challenge, identity)
    with pytest.raises(Refused, match="--confirm-target gic-forum is not dr"):
        confirm(challenge, "gic-forum")


def test_who_goes_on_where_the_ca_is_another_says_that_it_was_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = replace(BELIEVED.target, authority="ab" * 32)
    challenge = replace(BELIEVED, began=began)
    confirm(challenge, None, lambda _question: "gic-forum https://dr.example:6443 5d41402a was abababab")
    assert (
        f"where the run began was uid not to be seen, CA sha256:{began.authority}" in capsys.readouterr().err
    )
    with pytest.raises(Refused, match="not what was asked for"):
        confirm(challenge, None, lambda _question: BELIEVED.phrase)
    confirm(challenge, f"{began.identity},{BELIEVED.identity}")
    for given in (began.identity, BELIEVED.identity):
        with pytest.raises(Refused, match="or its CA was changed since"):
            confirm(challenge, given)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_question_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdin", Terminal("gic-forum 3f2a91c7\n"))
    confirm(CHALLENGE, None)
    assert "12 objects will be applied" in screen.getvalue()
    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    with pytest.raises(Refused, match="not what was asked for"):
        confirm(CHALLENGE, None)


def test_a_restored_system_is_told_with_loss_time_proofs_and_what_is_left_to_do() -> None:
    answer = restore_cluster.answer(RESTORED, NOW)
    assert answer.verdict == "restore: forum is restored in dr, namespace gic-forum, 1 proof held"
    assert answer.advice == "It took 41 min; the notes say what is left to do."
    assert (answer.exit_code, answer.alarm) == (0, False)
    text = shown(answer)
    for part in (
        "took     41 min, promised were 1 h",
        "4 min",
        "20 MiB/s",
        "infrastructure",
        "4711",
        "note: Ingress web",
    ):
        assert part in text
    assert encode(answer.facts)["restore"]["volumes"][1]["loss_seconds"] == 240
    assert (
        restore_cluster.answer(replace(RESTORED, notes=()), NOW).advice
        == "It took 41 min; nothing is left to do."
    )


def test_a_missed_objective_ends_with_9() -> None:
    answer = restore_cluster.answer(MISSED, NOW)
    assert (answer.exit_code, answer.alarm) == (9, True)
    assert "MISSED   it took 1 h 10 min, and 1 h was promised" in shown(answer)


def test_files_that_are_missing_end_with_4_and_are_named() -> None:
    answer = restore_cluster.answer(GAPS, NOW)
    assert (answer.exit_code, answer.alarm) == (4, True)
    assert "forum is restored, and not proven" in answer.verdict
    assert answer.advice.endswith("not every file that rows refer to is known to be there: see below.")
    text = shown(answer)
    for part in (
        "posts       postgres  media     1200     12",
        "albums      postgres  media     unknown  unknown",
        "MISSING  posts: a\n<b>.jpg",
        "MISSING  posts: 10 more",
        "UNKNOWN  albums: nobody can tell what is missing: PostgreSQL refuses the query",
    ):
        assert part in text
    assert restore_cluster.answer(replace(GAPS, missed=("late",)), NOW).exit_code == 4
    whole = replace(GAPS, outcome="restored", references=GAPS.references[1:2])
    assert restore_cluster.answer(whole, NOW).exit_code == 0


def test_an_undone_run_says_what_it_took_away_and_what_stays() -> None:
    answer = restore_cluster.answer(UNDONE, NOW)
    assert answer.verdict == "restore: run 20261125T120000Z-c0ffee into dr, namespace gic-forum is undone"
    assert "taken away  7\nput back    2\nnote: volume old is kept" in shown(answer)


def test_a_mapping_is_written_once_and_names_what_becomes_what() -> None:
    assert parse_names("--host", ["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    assert parse_names("--storage-class", ["=new"], may_be_empty=True) == {"": "new"}
    for texts in (["a"], ["a="], ["=b"], ["a=b", "a=c"]):
        with pytest.raises(UsageError, match=f"--host {texts[-1]} does not say"):
            parse_names("--host", texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "a restore goes to one place"),
        (["--to-cluster", "dr", "--to-dir", "x"], "a restore goes to one place"),
        (["--to-dir", "x", "--resume", "r"], "--resume is for a restore into a cluster"),
        (["redis", "--to-dir", "x", "--report", "r"], "--report is for a restore into a cluster"),
        (["--to-dir", "x"], "a directory takes one volume"),
        (["--to-cluster", "dr", "--owner", "x"], "--owner is for a restore into a directory"),
        (["--to-cluster", "dr"], "takes drtool's own image"),
        (["--to-cluster", "dr", "--resume", "r", "--abort", "r"], "contradict each other"),
        (["--to-cluster", "dr", "--resume", "r", "--at", "1h ago"], "--at was decided when run r began"),
        (["--to-cluster", "dr", "--resume", "r", "--if-exists", "keep"], "--if-exists was decided"),
        (["redis", "--to-cluster", "dr", "--abort", "r"], "VOLUME was decided"),
        (["--to-cluster", "dr", "--abort", "r", "--dry-run"], "--abort has no dry run"),
        (["--to-cluster", "dr", "--resume", "r", "--dry-run"], "--resume has no dry run"),
        (["--to-cluster", "dr", "--abort", "r", "--report", "x"], "--report tells how a restore went"),
        (["--to-cluster", "dr", "--dry-run", "--report", "x"], "--report tells how a restore went"),
        (["--to-cluster", "dr", "--image", "x", "--report", "/no/x"], "its folder is not there"),
    ],
)
def test_options_that_do_nothing_are_refused_by_name_before_anything_is_contacted(
    run: Run, options: list[str], message: str
) -> None:
    result = run("restore", *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "hint: " in result.stderr


def test_a_new_writer_takes_both_its_files(run: Run, place: Place) -> None:
    sheet: Any = place.root / "sheet"
    sheet.touch()
    result = run("restore", "--to-cluster", "dr", "--image", "x", "--admin-key-file", sheet)
    assert result.exit_code == 2
    assert "a new writer takes the admin sheet" in result.stderr
    assert "--enrol later" in result.stderr
    assert given_enrolment(sheet, place.root, "now") == Enrolment(sheet, place.root)
    assert given_enrolment(None, None, "now") is None


def test_a_writer_that_is_enrolled_later_takes_no_files(run: Run, place: Place) -> None:
    files = ("--admin-key-file", place.policy, "--writer-secrets", place.root)
    result = run("restore", "--to-cluster", "dr", "--image", "x", *files, "--enrol", "later")
    assert result.exit_code == 2
    assert "--enrol later enrols no new writer" in result.stderr


class Person:
    """Somebody who types these answers, one after the other, and sees some of them."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.hidden: list[bool] = []
        self.asked: list[str] = []

    def __call__(self, question: str, *, is_hidden: bool) -> str:
        self.asked.append(question)
        self.hidden.append(is_hidden)
        return self._answers.pop(0)


def test_the_admins_key_is_typed_hidden_until_it_is_one_and_the_folder_is_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    seed = bytes(range(32))
    line = encode_key("ADMIN", seed)
    person = Person(f"{line[:-1]}x", f" {line} ", str(tmp_path))

    made = ask_enrolment(["drtool-s3/access_key"], person)

    assert made.admin().public == SigningKey(seed).public
    assert made.secrets == tmp_path
    assert person.hidden == [True, True, False]
    assert "drtool-s3/access_key" in person.asked[-1]
    said = capsys.readouterr()
    assert "type it again" in said.err
    assert line[20:40] not in said.err + said.out + repr(made)


@pytest.mark.parametrize("slip", ["secret" * 60, "~secret", "sec\0ret", "secret"])
def test_what_was_typed_hidden_and_is_no_file_is_not_told(
    capsys: pytest.CaptureFixture[str], slip: str
) -> None:
    line = encode_key("ADMIN", bytes(range(32)))

    made = ask_enrolment(["drtool-s3/access_key"], Person(slip, line, "~nobody-of-that-name"))

    assert made.admin().public == SigningKey(bytes(range(32))).public
    assert made.secrets == Path("~nobody-of-that-name")
    said = capsys.readouterr()
    assert "type it again" in said.err
    assert "sec" not in said.err + said.out


def test_what_is_typed_on_a_terminal_is_not_shown_there(tmp_path: Path) -> None:
    line = encode_key("ADMIN", bytes(range(32)))
    code = "from drtool.cli.enrolment import *; print('public', ask_enrolment(['a/b']).admin().public.hex(), '.')"
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", code])
    try:
        seen = answer(terminal, b"an empty line stops here): ", line) + answer(
            terminal, b"(a/b): ", str(tmp_path)
        )
        seen += answer(terminal, b" .", "")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
    assert f"public {SigningKey(bytes(range(32))).public.hex()}".encode() in seen
    assert str(tmp_path).encode() in seen
    assert line.encode()[:20] not in seen


def answer(terminal: int, question: bytes, said: str) -> bytes:
    """Type a line once a question is there; return what was shown until then."""
    shown, deadline = b"", time.monotonic() + 60
    while question not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 4096)
    os.write(terminal, f"{said}\n".encode())
    return shown


def test_who_is_not_on_a_terminal_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("x"))
    with pytest.raises(Refused, match="the admin's key is not at hand"):
        ask_enrolment([])


def test_the_admin_sheet_is_named_where_it_is_a_file(tmp_path: Path) -> None:
    sheet = tmp_path / "kit.txt.admin"
    sheet.touch()
    assert ask_enrolment([], Person(str(sheet))) == Enrolment(sheet, Path())


@pytest.mark.parametrize("answers", [("",), (encode_key("ADMIN", bytes(32)), " ")])
def test_who_types_nothing_is_told_of_both_ways(answers: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match="the admin's key is not at hand") as caught:
        ask_enrolment(["drtool-s3/access_key"], Person(*answers))
    for way in ("--admin-key-file", "--writer-secrets", "--enrol later", "drtool keys enrol"):
        assert way in caught.value.hint


def test_what_nothing_backs_up_is_told_in_the_verdict_with_what_to_run() -> None:
    answer = restore_cluster.answer(UNPROTECTED, NOW)
    assert answer.verdict.startswith("restore: forum is restored, and not protected in dr")
    assert answer.verdict.endswith("NOT BACKED UP: no writer is enrolled")
    assert f"nothing is backed up until this is run: `{UNPROTECTED.enrol_later}`" in answer.advice
    assert (answer.exit_code, answer.alarm) == (9, True)
    late = replace(UNPROTECTED, outcome=MISSED.outcome, missed=MISSED.missed)
    assert "NOT BACKED UP" in restore_cluster.answer(late, NOW).verdict
    assert restore_cluster.answer(replace(UNPROTECTED, references=GAPS.references), NOW).exit_code == 4


def test_the_options_of_a_target_are_completed(run: Run) -> None:
    assert complete(run, "drtool restore --if-exists re") == ["refuse", "replace"]
    assert complete(run, "drtool restore --re") == [
        "--resume",
        "--report",
        "--repository",
        "--region",
        "--recovery-key-file",
    ]
