"""A volume of files under the commands, for the tests that look at one from different sides."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drtool.operations.session import KeyFiles, Session, Silent, World, open_session
from drtool.repository.snapshot import Snapshot, read_snapshots
from tests.scenarios.commands import Commands
from tests.sources.files.trees import clock, make_tree

SECRET_NAME, SECRET = "a telling name.txt", b"a telling content"


@dataclass(frozen=True)
class Files:
    """A tree, the commands over it, and a session that looks into the repository."""

    tree: Path
    drtool: Commands

    def backup(self, code: int = 0) -> dict[str, Any]:
        [volume] = self.drtool("backup", code=code).value["volumes"]
        found: dict[str, Any] = volume
        return found

    def points(self, key: Path | None = None) -> list[Snapshot]:
        session = self.session()
        found = read_snapshots(session.repository.records, "media")
        return [each for each in found if isinstance(each, Snapshot)]

    def session(self) -> Session:
        world = World(clock, {**os.environ, **self.drtool.environment}, Silent())
        return open_session(self.drtool.policy, None, KeyFiles(bundle=self.drtool.bundle), world)

    def packs(self) -> set[str]:
        return {found.name for found in self.session().repository.store.list("packs/")}


def make_files(directory: Path, repository: Mapping[str, object], **environment: str) -> Files:
    tree = directory / "tree"
    make_tree(tree)
    (tree / SECRET_NAME).write_bytes(SECRET)
    policy = {
        "version": 1,
        "name": "files",
        "repository": dict(repository),
        "objectives": {"rpo": "15m", "rto": "1h"},
        "volumes": [{"name": "media", "source": "files", "path": str(tree)}],
    }
    drtool = Commands(directory / "commands", policy, environment).written()
    drtool.init()
    return Files(tree, drtool)
