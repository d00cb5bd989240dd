"""`backup --due`, which is what a CronJob runs: a schedule that was missed is made up for by itself, and only once."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from drtool.repository.storage.directory import DirectoryStore
from tests.scenarios.files import Files

AWAY = timedelta(hours=3)  # a suspended CronJob, a node or a cluster that was off


def long_ago(patch: pytest.MonkeyPatch) -> None:
    """Let the store's clock be as far back as a job was away."""
    patch.setattr(DirectoryStore, "now", lambda _store: datetime.now(UTC) - AWAY)


def due(kept: Files, code: int = 0) -> dict[str, object]:
    [volume] = kept.drtool("backup", "--due", code=code).value["volumes"]
    assert isinstance(volume, dict)
    return volume


def runs(kept: Files) -> list[str]:
    return [found.name for found in kept.session().repository.store.list("runs/") if "-backup-" in found.name]


def test_runs_that_were_missed_are_made_up_for_by_one_that_says_so(
    kept: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        long_ago(patch)
        assert due(kept)["reason"] == "there is no restorable point yet"

    made_up = due(kept)

    assert made_up["outcome"] == "done"
    assert "runs were missed since" in str(made_up["reason"])
    assert int(str(made_up["reason"]).split()[0]) >= AWAY / timedelta(minutes=15)
    known, points = runs(kept), kept.points()
    with monkeypatch.context() as patch:  # the next moment of the schedule must not come in between
        patch.setattr(DirectoryStore, "now", lambda _store: points[-1].start)
        again = due(kept)
    assert (again["outcome"], str(again["reason"])[:8]) == ("not due", "next at ")
    assert (runs(kept), kept.points()) == (known, points)
    [media] = kept.drtool("status").value["status"]["volumes"]
    assert media["inside"]
    assert media["overdue"] == []


def test_a_run_that_failed_puts_off_nothing(kept: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        long_ago(patch)
        due(kept)
    away = kept.tree.rename(kept.tree.with_name("away"))
    failed = due(kept, code=6)
    assert failed["outcome"] == "failed"
    [media] = kept.drtool("status").value["status"]["volumes"]
    assert any("that was due at" in each for each in media["overdue"])
    assert media["last_failure"]

    shutil.move(away, kept.tree)

    assert due(kept)["outcome"] == "done"
    [media] = kept.drtool("status").value["status"]["volumes"]
    assert (media["overdue"], media["last_failure"]) == ([], "")
