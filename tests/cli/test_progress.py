import io
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest
from rich.console import Console

from drtool.cli.bars import BarProgress
from drtool.cli.progress import LineProgress, NoProgress, make_progress


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
    assert "0.5/2.0 KiB" in last
    assert "✓" not in last


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
