"""What is compared: one side is one tool with its repository. Each does the same steps on the same cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.measure import Spent


@dataclass(frozen=True, slots=True)
class Done:
    """One step of one side: what it took, and what it left. Sizes in bytes.

    server_cpu: CPU seconds of the server that is backed up. read: what the tool
    says it read. phases: seconds by name, what a restore consists of.
    """

    spent: Spent
    server_cpu: float = 0.0
    stored: int = 0
    wal_stored: int = 0
    read: int = 0
    phases: Mapping[str, float] = field(default_factory=dict)


class Side(Protocol):
    """One tool and the directory of its repository. Only backup and restore are measured."""

    name: str
    repository: Path

    def fresh(self) -> None:
        """Begin anew with an empty repository."""
        ...

    def settle(self) -> None:
        """Bring the WAL so far into the repository, as it happens all the time in daily life."""
        ...

    def backup(self) -> Done:
        """Take a backup: the first one is full, a later one builds on the one before."""
        ...

    def restore(self, directory: Path) -> Done:
        """Bring the newest backup and its WAL back into directory, with recovery; leave no server running."""
        ...
