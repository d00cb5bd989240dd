"""Runs backups that die: forks one process for each line of orders, so that modules are loaded only once.

    python -m tests.scenarios.crash_child POLICY BUNDLE ORACLE      orders on stdin: the call to die at, 0 for none

ORACLE is a directory: each run leaves the SHA-256 of every artifact as it was captured, before it commits.
The answer to an order is one line: how the process ended (an exit status or a negative signal), and its calls.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drtool.operations import capture, session
from drtool.operations.backup import run_backup
from drtool.operations.session import KeyFiles, Session, Silent, World, open_session
from drtool.repository.storage.open import open_store
from drtool.repository.writer import Pace, Writer
from tests.faults.stores import CrashingStore, kill_this_process

PACE = Pace(pack_size=1024 * 1024, in_flight=1024 * 1024, part_bytes=1024 * 1024)


class WatchedWriter(Writer):
    """A writer that keeps, outside of the repository, what it was given; with small packs and many parts."""

    oracle: Path

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, PACE)  # type: ignore[call-arg]  # mypy counts *arguments twice
        self._seen: dict[str, str] = {}

    def save(
        self, path: str, entry: dict[str, Any], stream: Iterable[bytes | memoryview], **sizes: Any
    ) -> int:
        digest = hashlib.sha256()
        size = super().save(path, entry, _watched(stream, digest), **sizes)
        self._seen[path] = digest.hexdigest()
        return size

    def commit(self, *arguments: Any) -> str:
        (self.oracle / self.run.run.hex()).write_text(json.dumps(self._seen))
        return super().commit(*arguments)


def _watched(stream: Iterable[bytes | memoryview], digest: Any) -> Iterator[bytes | memoryview]:
    for data in stream:
        digest.update(data)
        yield data


def back_up(policy: Path, bundle: Path, oracle: Path, at: int | None) -> int:
    """Back up all volumes through a store that dies at its at-th call; return the calls made. Ends the process."""
    WatchedWriter.oracle = oracle
    stores: list[CrashingStore] = []

    def crashing(*arguments: Any, **options: Any) -> CrashingStore:
        stores.append(CrashingStore(open_store(*arguments, **options), at, done=True, die=kill_this_process))
        return stores[-1]

    session.open_store = crashing  # type: ignore[attr-defined]
    setattr(capture, "Writer", WatchedWriter)  # noqa: B010 - mypy takes a plain assignment for a mistake
    results = run_backup(opened(policy, bundle), [])
    failed = [result for result in results if result.outcome != "done"]
    assert not failed, failed
    return stores[0].calls


def opened(policy: Path, bundle: Path) -> Session:
    world = World(lambda: datetime.now(UTC), os.environ, Silent())
    return open_session(policy, None, KeyFiles(bundle=bundle), world)


def main() -> None:
    policy, bundle, oracle = (Path(argument) for argument in sys.argv[1:])
    opened(policy, bundle).close()  # what is loaded late is loaded here, and not by every child
    for order in sys.stdin:
        counted = oracle / "calls"
        counted.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            try:
                counted.write_text(str(back_up(policy, bundle, oracle, int(order) or None)))
                os._exit(0)
            except BaseException as fault:  # noqa: BLE001 - a forked child must not go on as its parent
                print(repr(fault), file=sys.stderr, flush=True)
                os._exit(1)
        _, status = os.waitpid(child, 0)
        calls = counted.read_text() if counted.exists() else "-"
        print(os.waitstatus_to_exitcode(status), calls, flush=True)


if __name__ == "__main__":
    main()
