"""README says what the command line has: every command, every schema, every exit code."""

from pathlib import Path

import pytest

from drtool.cli.exits import MEANINGS
from tests.cli.test_main import leaves

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# What `--json` prints: the name of each command's answer. `policy schema` prints a JSON Schema.
SCHEMAS = [
    "backup", "completion", "demo", "doctor", "doctor-rbac", "error", "init", "keys-enrol", "keys-grant", "keys-new",
    "keys-prove", "keys-reader", "keys-runner", "keys-volumes", "plan", "points", "policy-check", "policy-show",
    "render", "restore", "status", "verify", "wal-catch-up", "wal-follow",
]  # fmt: skip


@pytest.mark.parametrize("words", [" ".join(words) for words, _ in leaves()])
def test_every_command_is_in_the_readme(words: str) -> None:
    assert f"drtool {words}" in README


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_in_the_readme(name: str) -> None:
    assert f"drtool/{name}/v1" in README


@pytest.mark.parametrize(("code", "meaning"), MEANINGS.items())
def test_every_exit_code_is_in_the_readme(code: int, meaning: str) -> None:
    assert any(f" {code} " in line and meaning in line for line in README.splitlines())


def test_every_answer_has_a_schema_that_is_listed() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "drtool" / "cli").glob("*.py"))
    found = {part.partition('"')[0] for part in sources.split('command="')[1:]}
    assert found <= set(SCHEMAS)
