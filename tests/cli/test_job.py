import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.cli.backup import answer
from drtool.cli.job import WORD, report_error
from drtool.errors import Refused
from drtool.operations.results import VolumeBackup
from tests.cli.conftest import Place, Run
from tests.sources.kubernetes.api import Api

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def word(tmp_path: Path) -> Path:
    return tmp_path / "termination-log"


def test_what_failed_is_the_last_word_in_one_line(run: Run, made: Place, word: Path) -> None:
    arguments = ["backup", "--due", "--policy", made.policy, "--bundle", made.bundle]
    result = run(*arguments, env={WORD: str(word)})

    assert result.exit_code == 6
    said = word.read_text()
    assert said.startswith("backup: 1 failed; error: redis: ")
    assert "hint: " in said
    assert "\n" not in said


def test_an_error_before_anything_was_done_is_the_last_word(run: Run, place: Place, word: Path) -> None:
    result = run("backup", "--policy", place.policy, "--json", env={WORD: str(word)})

    assert word.read_text().startswith(f"error: {json.loads(result.stdout)['error']['message']}; hint: ")


def test_a_last_word_that_cannot_be_written_changes_nothing(run: Run, made: Place, tmp_path: Path) -> None:
    arguments = ["points", "--policy", made.policy, "--bundle", made.bundle]

    assert run(*arguments, env={WORD: str(tmp_path)}).exit_code == 0


def test_a_last_word_is_short_enough_for_kubernetes(word: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORD, str(word))
    report_error(Refused("€\n" * 4096), "backup")

    assert 1000 < word.stat().st_size <= 1024
    assert set(word.read_text()) == {*"error: ", "€"}


def test_news_are_events_on_the_cron_job_and_what_is_not_due_is_none(
    run: Run, made: Place, tmp_path: Path
) -> None:
    jobs = "/apis/batch/v1/namespaces/shop/cronjobs"
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "x", "namespace": "shop", "uid": "1"},
    }
    with Api({jobs: [owner]}) as api:
        file = str(api.kubeconfig(tmp_path))
        environment = {"KUBECONFIG": file, "DRTOOL_EVENTS": "CronJob/x", "DRTOOL_NAMESPACE": "shop"}
        arguments = ["--policy", made.policy, "--bundle", made.bundle]
        run("backup", *arguments, env=environment)
        run("backup", "--no-such-option", env=environment)
        run("backup", "--dry-run", *arguments, env=environment)

    assert [(each["type"], each["reason"]) for each in api.created] == [("Warning", "BackupFailed")] * 2
    assert api.created[0]["message"].startswith("backup: 1 failed; error: redis: ")


@pytest.mark.parametrize(
    ("result", "said", "is_news"),
    [
        (VolumeBackup("redis", "not due", "next at noon"), "backup: 1 not due; redis: next at noon", False),
        (
            VolumeBackup("redis", "done", moment=NOON, read=2048, stored=1024, notes=("a note",)),
            "backup: 1 done; redis: the point of 2026-01-02T12:00:00Z, 1.0 KiB stored of 2.0 KiB, a note",
            True,
        ),
        (
            VolumeBackup("redis", "failed", error=Refused("no", hint="Try.")),
            "backup: 1 failed; error: redis: no; hint: Try.",
            True,
        ),
    ],
)
def test_a_backup_says_in_a_line_what_happened(result: VolumeBackup, said: str, *, is_news: bool) -> None:
    told = answer([result], NOON)

    assert (told.last_word, told.is_news) == (said, is_news)
