import io
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import repeat
from threading import Event
from time import monotonic

import click
import pytest
from rich.console import Console

from drtool.cli.bars import BarProgress
from drtool.cli.pod_progress import PodProgress
from drtool.cli.progress import ClosingProgress, LineProgress, NoProgress, make_progress
from drtool.errors import DrtoolError
from drtool.operations.mover_progress import Moved, from_line
from drtool.operations.session import Progress


def test_lines_name_each_phase_and_say_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    progress.phase("base", total=4096)
    progress.advance(1024)
    progress.advance(1024)
    progress.note("slow")
    progress.phase("commit")
    progress.close()
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert lines[0] == "base: 4.0 KiB"
    assert lines[1] == "note: slow"
    assert lines[2].startswith("base: 2.0 KiB of 4.0 KiB (50 %), ")
    assert lines[2].endswith("/s, done")
    assert lines[3:] == ["commit"]
    assert printed.out == ""


def test_lines_do_not_call_done_what_was_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    progress.phase("base", total=4096)
    progress.advance(1024)
    progress.interrupted()
    progress.phase("next")
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("base: 1.0 KiB of 4.0 KiB (25 %), ")
    assert lines[1].endswith("/s, interrupted")
    assert lines[2:] == ["next"]


def test_a_bar_that_was_interrupted_stays_where_it_is_and_says_so() -> None:
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=100))
    progress.interrupted()
    progress.phase("base", total=2048)
    progress.advance(512)
    progress.interrupted()
    progress.close()
    last = screen.getvalue().rpartition("\r")[2]
    assert "base: interrupted" in last
    assert "512 B of 2.0 KiB" in last
    assert "✓" not in last


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_bar_is_one_line_of_a_narrow_terminal_and_its_measures_are_whole(width: int) -> None:
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=width))

    def lines() -> list[str]:
        return click.unstyle(screen.getvalue()).replace("\r", "\n").splitlines()

    def appears(pattern: str) -> None:
        deadline = monotonic() + 20
        while not any(re.search(pattern, line) for line in lines()):
            assert monotonic() < deadline, lines()[-5:]
            Event().wait(0.05)

    progress.phase("postgres: WAL to the end of the base backup")
    progress.advance(5 << 30)
    progress.phase("phase 3 data", total=200 << 30)
    with progress.step("restore postgres into claim data-postgres-0", 80 << 30) as step:
        step.phase("writing the base backup", 80 << 30)
        for _ in range(2):  # two samples make a rate
            step.advance(5 << 30)
            appears(r"  restore postg\S*.* \d+(\.\d)? GiB of 80 GiB ")
        appears(r"^✓ postgres: WAL to the .* 5\.0 GiB +\S+ \SiB/s +\d:\d\d:\d\d\s*$")
        appears(r"  restore postg\S*.* 10 GiB of 80 GiB +\S+ \SiB/s +\d:\d\d:\d\d left\s*$")
    progress.close()
    assert max(map(len, lines())) <= width


def test_what_moves_no_bytes_shows_none() -> None:
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=80))
    progress.phase("choosing the point")
    progress.close()
    assert re.search(r"✓ choosing the point ━+ +0:00:00\s*$", click.unstyle(screen.getvalue()))


def test_lines_come_again_once_their_time_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    quiet, chatty = LineProgress(), LineProgress(every_s=0)
    for progress in (quiet, chatty):
        progress.phase("base")
        progress.advance(1024)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["base", "base"]
    assert len(lines) == 3
    assert lines[2].startswith("base: 1.0 KiB, ")


def test_lines_count_what_many_threads_do(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    progress.phase("base", total=80_000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(progress.advance, repeat(1, 80_000)))
    progress.close()
    assert "(100 %)" in capsys.readouterr().err


def test_bars_show_phases_and_notes_and_can_begin_again_after_their_end() -> None:
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=100))
    progress.advance(1)
    progress.phase("base", total=2048)
    progress.advance(1024)
    progress.note("a [note]")
    progress.phase("commit")
    progress.close()
    assert "base" in screen.getvalue()
    assert "note: a [note]" in screen.getvalue()
    before = len(screen.getvalue())
    progress.phase("after")
    progress.close()
    progress.close()
    assert "after" in screen.getvalue()[before:]
    assert "base" not in screen.getvalue()[before:]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("mode", "stderr", "expected"),
    [
        ("auto", Terminal(), BarProgress),
        ("auto", io.StringIO(), LineProgress),
        ("bar", Terminal(), BarProgress),
        ("bar", io.StringIO(), LineProgress),
        ("plain", Terminal(), LineProgress),
        ("none", Terminal(), NoProgress),
    ],
)
def test_bars_are_for_terminals_only(
    monkeypatch: pytest.MonkeyPatch, mode: str, stderr: io.StringIO, expected: type
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    progress = make_progress(mode)  # type: ignore[arg-type]  # the table holds plain text
    assert isinstance(progress, expected)
    progress.phase("x")
    progress.advance(1)
    progress.note("y")
    progress.interrupted()
    progress.close()


def run_steps(progress: ClosingProgress) -> None:
    """Two steps side by side, of which one fails, and one that is interrupted."""
    progress.promise(timedelta(hours=1), spent=timedelta(minutes=19))
    progress.phase("data", total=4096)
    with progress.step("restore a", 2048) as a:
        a.phase("replaying the log")
        a.advance(2048)
        with pytest.raises(DrtoolError):
            fail(progress)
    with pytest.raises(KeyboardInterrupt), progress.step("wait"):
        raise KeyboardInterrupt
    progress.close()


def fail(progress: Progress) -> None:
    with progress.step("restore b") as b:
        b.advance(1024)
        b.note("slow")
        b.interrupted()
        raise DrtoolError("no")


def test_each_step_has_a_line_when_it_begins_and_one_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    run_steps(LineProgress())
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"data: 4\.0 KiB; 40 min 5\d s of 1 h left", lines[0])
    assert lines[1:5] == [
        "restore a: 2.0 KiB",
        "restore a: replaying the log",
        "restore b",
        "note: restore b: slow",
    ]
    assert re.fullmatch(r"restore b: 1\.0 KiB, .*/s, failed after .*s", lines[5])
    assert re.fullmatch(r"restore a: 2\.0 KiB, .*/s, done in .*s", lines[6])
    assert lines[7] == "wait"
    assert lines[8].startswith("wait: interrupted after ")
    assert lines[9].startswith("data: 3.0 KiB of 4.0 KiB (75 %), ")


def test_a_step_that_goes_on_is_told_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress(every_s=0.01)
    progress.phase("data", total=8192)
    told = ""
    with progress.step("restore a", 4096) as moving, progress.step("wait for b"):
        moving.advance(1024)
        deadline = monotonic() + 20
        while told.count("data: 1.0 KiB of 8.0 KiB") < 3 and monotonic() < deadline:
            told += capsys.readouterr().err
    progress.close()
    assert re.search(r"^restore a: 1\.0 KiB of 4\.0 KiB \(25 %\), .*/s, .*s left$", told, re.MULTILINE)
    assert re.search(r"^wait for b: .*s so far$", told, re.MULTILINE)
    assert told.count("data: 1.0 KiB of 8.0 KiB") >= 3


def test_lines_of_steps_begin_again_after_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress(every_s=0.01)
    for name in ("a", "b"):
        with progress.step(name):
            deadline = monotonic() + 20
            while f"{name}: " not in capsys.readouterr().err and monotonic() < deadline:
                pass
            assert monotonic() < deadline
        progress.close()
        progress.close()


def test_bars_show_each_step_below_its_phase_and_what_is_left_of_the_promise() -> None:
    screen = io.StringIO()
    run_steps(BarProgress(Console(file=screen, force_terminal=True, width=140)))
    shown = screen.getvalue()
    assert re.search(r"  restore a: replaying the log .*2\.0 KiB", shown)
    assert re.search(r"  wait \S+ +0:00:00", click.unstyle(shown))
    assert re.search(r"✗ restore b: 1\.0 KiB, .*/s, failed after", shown)
    assert re.search(r"✓ restore a: 2\.0 KiB, .*/s, done in", shown)
    assert "✗ wait: interrupted after" in shown
    assert "note: restore b: slow" in shown
    assert re.search(r"40 min 5\d s of 1 h left", shown)
    assert "restore a" not in shown.rpartition("\r")[2]


def test_a_step_counts_anew_where_a_part_of_it_has_a_total(capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress().step("restore a", 4096) as step:
        step.advance(4096)
        step.phase("replaying", total=100)
        step.advance(50)
        with step.step("beside") as beside:
            beside.promise(timedelta(seconds=1), timedelta(minutes=3))
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("restore a: 50 B, ")


def test_a_promise_that_is_over_says_since_when(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    progress.promise(timedelta(hours=1), spent=timedelta(hours=1, minutes=3))
    progress.phase("testing")
    assert capsys.readouterr().err == "testing; the objective of 1 h was missed 3 min ago\n"


def test_a_pod_says_how_far_it_is_line_by_line_but_not_for_each_piece(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = PodProgress(every_s=3600)
    progress.phase("writing", total=9)
    for _ in range(1000):
        progress.advance(2)
    progress.note("slow")
    progress.phase("proving")
    lines = capsys.readouterr().err.splitlines()
    assert [from_line(line) for line in lines] == [Moved("writing", 0), None, Moved("proving", 2000)]
    assert lines[1] == "note: slow"
    at_once = PodProgress(every_s=0)
    with at_once.step("x") as step:
        step.advance(1)
    assert from_line(capsys.readouterr().err) == Moved("", 1)
    run_steps(at_once)


def test_what_shows_nothing_takes_steps_too() -> None:
    run_steps(NoProgress())
