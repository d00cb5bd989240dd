"""The command where it has nothing to show: it says so, and does not end well."""

from pathlib import Path

import pytest

from tests.cluster.load.__main__ import main
from tests.cluster.load.faulty_site import PASSWORD, FaultySite

VARIABLE = "PASSWORD_OF_THE_TEST"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that writes for a moment, to a site that is away."""
    monkeypatch.setenv(VARIABLE, PASSWORD)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # a test leaves the handlers of pytest alone
    url = "http://127.0.0.1:1"
    return ["run", "--url", url, "--user", "user", "--password-env", VARIABLE, "--seconds", "0.3"]


@pytest.mark.parametrize(
    ("pace", "why"),
    [((), "does not answer"), (("--commits=0", "--uploads=0", "--tasks=0"), "no write was refused either")],
)
def test_a_run_without_an_acknowledgement_fails_and_its_ledger_is_refused(
    run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], pace: tuple[str, ...], why: str
) -> None:
    ledger = ["--ledger", str(tmp_path / "ledger")]

    assert main([*run, *ledger, *pace]) == 1
    said = capsys.readouterr().err
    assert "error: nothing at all was acknowledged: " in said
    assert why in said
    assert "hint: " in said

    with FaultySite().serve() as site:
        assert main(["compare", *ledger, "--url", site.url]) == 2
    assert "proves nothing" in capsys.readouterr().err


@pytest.mark.parametrize("pace", ["--commits=-1", "--uploads=-0.5", "--tasks=nan", "--commits=inf"])
def test_what_is_no_pace_is_wrong_usage(
    run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], pace: str
) -> None:
    assert main([*run, "--ledger", str(tmp_path / "ledger"), pace]) == 2
    assert "is no pace" in capsys.readouterr().err
    assert not (tmp_path / "ledger").exists()


def test_a_ledger_in_a_folder_that_is_not_there_is_wrong_usage(
    run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*run, "--ledger", str(tmp_path / "none" / "ledger")]) == 2
    assert "hint: Name a file in a folder" in capsys.readouterr().err
