import pytest

from tests.cli.conftest import Place, Run, answer_of


@pytest.mark.parametrize(
    ("shell", "line"),
    [("bash", "complete -o nosort"), ("zsh", "#compdef drtool"), ("fish", "complete --no-files")],
)
def test_the_script_of_a_shell_is_printed(run: Run, shell: str, line: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert line in result.stdout


def test_the_script_of_a_shell_is_printed_for_programs_too(run: Run) -> None:
    answer = answer_of(run("completion", "zsh", "--json"))
    assert (answer["schema"], answer["shell"]) == ("drtool/completion/v1", "zsh")
    assert answer["script"] == run("completion", "zsh").stdout.removesuffix("\n")


def complete(run: Run, words: str, **environment: str) -> list[str]:
    asked = {"_DRTOOL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return [line.partition(",")[2] for line in run(env={**asked, **environment}).stdout.split()]


def test_commands_and_options_are_completed(run: Run) -> None:
    assert complete(run, "drtool po") == ["policy", "points"]
    assert complete(run, "drtool backup --d") == ["--due", "--dry-run", "--debug"]


def test_volumes_are_completed_from_the_policy_that_is_known(run: Run, place: Place) -> None:
    assert complete(run, "drtool backup ", DRTOOL_POLICY=str(place.policy)) == ["redis"]
    assert complete(run, f"drtool restore --policy {place.policy} re") == ["redis"]
    assert complete(run, f"drtool restore --policy {place.policy} x") == []


def test_without_a_readable_policy_no_volume_is_completed(run: Run, place: Place) -> None:
    assert complete(run, "drtool points ") == []
    place.policy.write_text("version: 7")
    assert complete(run, "drtool points ", DRTOOL_POLICY=str(place.policy)) == []
