"""A command line without an environment, and a small system in a directory for it to work on."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from drtool.cli.main import drtool

Run = Callable[..., Result]

POLICY = """\
version: 1
name: forum
repository: {{url: "file://{store}"}}
objectives: {{rpo: 15m, rto: 1h}}
volumes:
  - {{name: redis, source: redis, host: 127.0.0.1, port: {port}}}
"""


@dataclass(frozen=True)
class Place:
    """A policy, an empty store for it, and where its keys go."""

    root: Path

    @property
    def policy(self) -> Path:
        return self.root / "forum.yaml"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def bundle(self) -> Path:
        return self.root / "bundle.json"

    @property
    def kit(self) -> Path:
        return self.root / "kit"

    def write_policy(self, port: int) -> None:
        self.policy.write_text(POLICY.format(store=self.store, port=port))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.store.mkdir()
    made.write_policy(port=1)  # nothing listens there
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in (name for name in os.environ if name.startswith("DRTOOL_") or name == "NO_COLOR"):
        monkeypatch.delenv(name)

    def call(*arguments: object, **options: Any) -> Result:
        return CliRunner().invoke(drtool, [str(each) for each in arguments], prog_name="drtool", **options)

    return call


@pytest.fixture
def made(run: Run, place: Place) -> Place:
    """The place with its repository."""
    result = run("init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit)
    assert result.exit_code == 0, result.output
    return place


def answer_of(result: Result) -> dict[str, Any]:
    """Return the one JSON object that a command printed."""
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer
