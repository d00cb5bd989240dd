"""Replay: a restored base and staged WAL become a server at the chosen point, and that it got there is proven.

prepare, start, replay, check; then the caller proves more on the running server, and closes or leaves it.
"""

import contextlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from drtool.errors import DrtoolError, NotProven
from drtool.policy.moments import exact
from drtool.sources.postgres.binaries import Binaries
from drtool.sources.postgres.configuration import put_back, set_aside
from drtool.sources.postgres.instance import Instance, needed_settings, read_control
from drtool.sources.postgres.layout import BACKUP_LABEL, MARKER, TABLESPACE_MAP
from drtool.sources.postgres.pitr import RecoveryChoice, Stop
from drtool.sources.postgres.staging import clear_staging, write_restore_command
from drtool.sources.postgres.wal import format_lsn, history_name, parse_history

RECOVERY_SIGNAL = "recovery.signal"
STANDBY_SIGNAL = "standby.signal"
DEADLINE_S = 24 * 3600.0

_RESTORED = re.compile(r'restored log file "([0-9A-F]{24})" from archive')
_NEW_TIMELINE = re.compile(r"selected new timeline ID: (\d+)")
_LAST_COMMIT = re.compile(r"last completed transaction was at log time (\S+ \S+)\+00")

Progress = Callable[[int, int], None]  # segments replayed, segments of the plan


@dataclass(frozen=True, slots=True)
class Expected:
    """Where the data must end. stop is "time" or "end"; end_lsn is the last complete record's end, by a walk.

    witnesses are LSNs that somebody saw durable on the path, each the end of a whole record.
    """

    stop: Stop
    end_lsn: int
    witnesses: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a recovery ended: on which new timeline, after which LSN of the old one, and its last commit."""

    timeline: int
    reached_lsn: int
    last_commit: datetime | None


class Recovery:
    """One recovery of directory: enter it, stage the WAL into work, run it, prove more, then finish or leave.

    work is a directory of ours beside the data directory: made, cleared, and removed by finish. settings are the
    captured ones (facts["settings"]). On leaving the context the server is stopped, unless leave_running was called.
    """

    def __init__(
        self,
        choice: RecoveryChoice,
        directory: Path,
        binaries: Binaries,
        *,
        work: Path,
        settings: Mapping[str, str],
    ) -> None:
        self.choice = choice
        self.directory = directory
        self.work = work
        self.instance = Instance(binaries, directory, work)
        self._binaries = binaries
        self._settings = dict(settings)
        self._is_left = False

    def __enter__(self) -> Self:
        self._check_directory()
        clear_staging(self.work)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_left:
            return
        with contextlib.suppress(DrtoolError) if error is not None else contextlib.nullcontext():
            self.instance.stop()

    def run(
        self, expected: Expected, *, on_progress: Progress | None = None, deadline_s: float = DEADLINE_S
    ) -> Recovered:
        """Replay what is staged, and return where it ended; the server then runs, on a new timeline.

        Raises NotProven if it ended anywhere else than expected; DrtoolError, with the log's tail, if it failed.
        """
        command = write_restore_command(self.work, self.choice)
        control = read_control(self._binaries, self.directory)
        self._settings = needed_settings(self._binaries, control, self._settings)
        set_aside(self.directory)
        (self.directory / STANDBY_SIGNAL).unlink(missing_ok=True)
        (self.directory / RECOVERY_SIGNAL).touch(mode=0o600)
        self.instance.start({**self._settings, **self._target(expected.stop), "restore_command": command})
        lines = self._follow(on_progress, deadline_s)
        recovered = self._read_end(lines)
        self._check_end(expected, recovered)
        return recovered

    def finish(self) -> list[str]:
        """Stop the server cleanly, leave a directory that starts by its own configuration, and return notes."""
        self.instance.stop()
        notes = self._tidy()
        state = read_control(self._binaries, self.directory)["Database cluster state"]
        if state != "shut down":
            raise self.instance.failed(f"the restored server did not shut down cleanly: {state}")
        shutil.rmtree(self.work)
        return notes

    def leave_running(self) -> list[str]:
        """Let the server run on with drtool's private configuration in work, and return notes on how to end that."""
        pid, sockets = self.instance.pid, self.instance.sockets
        notes = [
            f"the server runs as process {pid}, on the Unix socket in {sockets} and nowhere else",
            f"its configuration and its log are drtool's own, in {self.work}",
            f"to stop it: kill -INT {pid}; then delete {self.work} and {sockets}",
            *self._tidy(),
        ]
        self._is_left = True
        return notes

    def _tidy(self) -> list[str]:
        for name in (f"{BACKUP_LABEL}.old", f"{TABLESPACE_MAP}.old"):
            (self.directory / name).unlink(missing_ok=True)
        return put_back(self.directory, self._settings)

    def _check_directory(self) -> None:
        """Raise NotProven for what is no whole base of the lineage: without its label PostgreSQL starts wrongly."""
        directory, lineage = self.directory, self.choice.base.lineage
        if (directory / MARKER).exists() or not (directory / BACKUP_LABEL).is_file():
            raise NotProven(
                f"{directory} is no whole base backup: "
                + ("its restore did not end" if (directory / MARKER).exists() else "it has no backup_label"),
                hint="Restore the base backup again, into an empty directory.",
            )
        major = (directory / "PG_VERSION").read_text().strip()
        found = read_control(self._binaries, directory)["Database system identifier"]
        if (major, found) != (str(lineage.major), str(lineage.system_identifier)):
            raise NotProven(
                f"{directory} is of PostgreSQL {major} with system identifier {found}, the WAL of "
                f"{lineage.major} with {lineage.system_identifier}",
                hint="Base and WAL are of different instances: ask `drtool points` which belong together.",
            )

    def _target(self, stop: Stop) -> dict[str, str]:
        target = {"recovery_target_timeline": str(self.choice.timeline), "recovery_target_action": "promote"}
        if stop == "time" and self.choice.target is not None:
            target["recovery_target_time"] = f"{self.choice.target.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00"
        return target

    def _follow(self, on_progress: Progress | None, deadline_s: float) -> list[str]:
        """Wait until the server is promoted, and return the log's lines that tell how it ended."""
        telling, seen = [], set()
        for line in self.instance.wait_ready(deadline_s=deadline_s):
            if (segment := _RESTORED.search(line)) is not None:
                seen.add(segment[1])
                if on_progress is not None:
                    on_progress(len(seen), len(self.choice.segments))
            elif _NEW_TIMELINE.search(line) or _LAST_COMMIT.search(line):
                telling.append(line)
        return telling

    def _read_end(self, lines: Sequence[str]) -> Recovered:
        timelines = [int(match[1]) for line in lines if (match := _NEW_TIMELINE.search(line))]
        commits = [match[1] for line in lines if (match := _LAST_COMMIT.search(line))]
        if not timelines or (self.directory / RECOVERY_SIGNAL).exists():
            raise NotProven(
                "the server came up without a new timeline: it did not recover from the staged WAL"
            )
        history = self.directory / "pg_wal" / history_name(timelines[-1])
        left = parse_history(timelines[-1], history.read_bytes())[-1]
        last = datetime.fromisoformat(commits[-1]).replace(tzinfo=UTC) if commits else None
        return Recovered(timelines[-1], left.switch_lsn, last)

    def _check_end(self, expected: Expected, recovered: Recovered) -> None:
        choice, reached = self.choice, recovered.reached_lsn
        found = read_control(self._binaries, self.directory)["Database system identifier"]
        faults = []
        if found != str(choice.base.lineage.system_identifier):
            faults.append(f"the system identifier is {found}, not {choice.base.lineage.system_identifier}")
        if recovered.timeline <= max([choice.timeline, *choice.histories]):
            faults.append(f"timeline {recovered.timeline} was taken before")
        if reached < choice.base.end_lsn:
            faults.append(f"the base backup is consistent only at {format_lsn(choice.base.end_lsn)}")
        if expected.stop == "end" and reached != expected.end_lsn:
            faults.append(f"the last complete record in the store ends at {format_lsn(expected.end_lsn)}")
        if choice.heartbeat_lsn is not None and reached <= choice.heartbeat_lsn:
            faults.append(f"the heartbeat at {format_lsn(choice.heartbeat_lsn)} is not in it")
        faults += [f"{format_lsn(lsn)} was seen durable" for lsn in expected.witnesses if reached < lsn]
        if choice.target is not None and recovered.last_commit and recovered.last_commit > choice.target:
            faults.append(f"its last commit is of {exact(recovered.last_commit)}, after the target")
        if faults:
            raise NotProven(
                f"recovery ended at {format_lsn(reached)}: {'; '.join(faults)}",
                hint=f"Do not use this copy. The server's log is {self.instance.log}.",
            )
