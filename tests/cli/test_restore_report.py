"""The report of a restore, byte by byte; `python -m tests.cli.test_restore_report` writes those to compare with."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from drtool import __version__
from drtool.cli.restore_report import page_of, refuse_unwritable, write_report
from drtool.errors import UsageError
from drtool.operations.cluster_restore.results import ClusterRestoreResult
from drtool.report.html import to_html
from tests.cli.ended import FAILED, GAPS, MISSED, RESTORED, UNPROTECTED, UNPROVEN

GOLDEN: Final = Path(__file__).parent / "golden"
ENDED: Final = {
    "restored": RESTORED,
    "missed": MISSED,
    "unproven": UNPROVEN,
    "gaps": GAPS,
    "failed": FAILED,
}


def drawn(result: ClusterRestoreResult) -> str:
    return to_html(page_of(result)).replace(f"by drtool {__version__}", "by drtool VERSION")


@pytest.mark.parametrize("name", ENDED)
def test_a_report_is_drawn_as_it_was(name: str) -> None:
    assert drawn(ENDED[name]) == (GOLDEN / f"{name}.html").read_text(encoding="utf-8")


def test_a_report_begins_with_the_verdict_and_what_carries_it() -> None:
    page = page_of(RESTORED)
    assert (page.verdict, page.tone) == ("forum is restored", "good")
    assert [(each.value, each.tone) for each in page.figures] == [
        ("4 min", "good"),
        ("41 min", "good"),
        ("1 of 1", "good"),
    ]


def test_what_nothing_backs_up_is_no_good_end() -> None:
    page = page_of(UNPROTECTED)
    assert (page.verdict, page.tone) == ("forum is restored, and not protected", "bad")
    assert "Nothing is backed up until a new writer is enrolled" in page.advice
    [section] = [each for each in page.sections if each.title == "What a human must still look at"]
    assert UNPROTECTED.enrol_later in section.items[0]


def test_a_missed_objective_is_seen_in_the_verdict_in_the_figures_and_in_the_rows() -> None:
    page = page_of(MISSED)
    assert (page.verdict, page.tone) == ("forum is restored, and an objective was missed", "bad")
    assert [each.tone for each in page.figures] == ["bad", "bad", "good"]
    sections = {each.title: each for each in page.sections}
    assert sections["Promises that were not kept"].items == MISSED.missed
    losses, phases = sections["What was lost"].grid, sections["How long it took"].grid
    assert losses is not None
    assert phases is not None
    assert [losses.rows[number][0] for number in losses.bad] == ["postgres"]
    assert [phases.rows[number][0] for number in phases.bad] == ["in all"]


def test_a_proof_that_failed_is_the_verdict() -> None:
    page = page_of(UNPROVEN)
    assert page.verdict == "forum is not proven: 1 proof failed"
    assert page.tone == page.figures[-1].tone == "bad"
    assert page.figures[-1].value == "1 of 2"


def test_files_that_rows_refer_to_and_that_are_missing_are_told_with_those_that_nobody_looked_for() -> None:
    page = page_of(GAPS)
    assert (page.verdict, page.tone) == ("forum is restored, and not proven", "bad")
    [section] = [each for each in page.sections if each.title == "Files that rows refer to"]
    assert section.grid is not None
    assert [section.grid.rows[number][0] for number in sorted(section.grid.bad)] == ["posts", "albums"]
    assert section.grid.rows[2][3:] == ("unknown", "unknown")
    assert section.items[0] == "albums: nobody can tell: PostgreSQL refuses the query"
    assert page_of(replace(GAPS, references=GAPS.references[1:2])).tone == "good"


def test_a_report_goes_to_a_new_file_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.html"
    refuse_unwritable(file)
    write_report(file, RESTORED)
    first = file.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="is there already"):
        refuse_unwritable(file)
    with pytest.raises(UsageError, match="its folder is not there"):
        refuse_unwritable(tmp_path / "no" / "report.html")
    write_report(file, MISSED)  # it came meanwhile: an hour of work is not lost for it
    assert "could not be written: File exists" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == first


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, result in ENDED.items():
        (GOLDEN / f"{name}.html").write_text(drawn(result), encoding="utf-8")
