"""The ledger: which writes were begun and which were acknowledged, kept outside of the cluster that it judges.

A file to which JSON lines are appended, one an event, so that a killed generator leaves all but its last one:

    {"event": "opened", "at": "2025-11-25T19:59:59.900321+00:00"}
    {"event": "begun", "kind": "uploads", "id": "…", "at": "2025-11-25T20:00:00.123456+00:00", "sha256": "…"}
    {"event": "acknowledged", "kind": "uploads", "id": "…", "at": "2025-11-25T20:00:00.140012+00:00"}
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self, get_args

from drtool.errors import Corrupt, UsageError

Kind = Literal["posts", "uploads", "tasks"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OPENED = {"event": "opened"}


@dataclass(frozen=True, slots=True)
class Write:
    """One write as the client saw it. acknowledged is None while nobody called it done; sha256 is of its content."""

    kind: Kind
    id: str
    begun: datetime
    acknowledged: datetime | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All writes by their identity. torn counts lines that a killed generator left half written."""

    writes: Mapping[str, Write]
    torn: int = 0

    def of(self, kind: Kind) -> dict[str, Write]:
        """Return the writes of one kind."""
        return {id_: write for id_, write in self.writes.items() if write.kind == kind}

    def until(self, moment: datetime) -> "Ledger":
        """Return the ledger as it was at moment, which is what a restore to that moment should bring back."""
        then = self.promised(moment).writes
        return Ledger({id_: write for id_, write in then.items() if write.begun <= moment}, self.torn)

    def promised(self, moment: datetime) -> "Ledger":
        """Return the ledger with what was acknowledged by moment: whatever came later may be there, or not."""
        writes = {
            id_: write
            if write.acknowledged and write.acknowledged <= moment
            else replace(write, acknowledged=None)
            for id_, write in self.writes.items()
        }
        return Ledger(writes, self.torn)


class LedgerFile:
    """A ledger that is being written. Safe for several threads; each line is in the file when the call returns."""

    def __init__(self, path: Path) -> None:
        """Open path, to append to what earlier generators left. Raises UsageError if it cannot be written."""
        self._lock = Lock()
        try:
            self._file = path.open("ab")
            if self._file.tell() and not path.read_bytes().endswith(b"\n"):
                self._file.write(b"\n")
            self._append(event="opened")
        except OSError as cause:
            raise UsageError(
                f"cannot write the ledger {path}: {cause.strerror}",
                hint="Name a file in a folder that is there and that you may write.",
            ) from cause

    def begin(self, kind: Kind, identity: str, sha256: str) -> None:
        """Note that a write is about to be sent."""
        self._append(event="begun", kind=kind, id=identity, sha256=sha256)

    def acknowledge(self, kind: Kind, identity: str) -> None:
        """Note that the site called the write done."""
        self._append(event="acknowledged", kind=kind, id=identity)

    def _append(self, **event: str) -> None:
        with self._lock:  # the time is read inside, so lines are in the order of time
            line = json.dumps({**event, "at": datetime.now(UTC).isoformat(timespec="microseconds")}) + "\n"
            if not self._file.closed:  # what is acknowledged to a generator that has ended stays in doubt
                self._file.write(line.encode())
                self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_ledger(path: Path) -> Ledger:
    """Read a ledger, also one that is still being written.

    A line without its end is torn where a generator was killed: at the end, or before another one was opened. It is
    counted and left out. Raises UsageError if path cannot be read, Corrupt if it is no ledger.
    """
    try:
        events = [_parse(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError as cause:
        raise UsageError(
            f"cannot read the ledger {path}: {cause.strerror}", hint="Name the file that the generator wrote."
        ) from cause
    writes: dict[str, Write] = {}
    torn = 0
    for number, (event, next_event) in enumerate(pairwise([*events, OPENED]), start=1):
        if event is None and (next_event or {}).get("event") == "opened" and number > 1:
            torn += 1
            continue
        try:
            _note(writes, event)
        except (KeyError, TypeError, ValueError) as cause:
            raise Corrupt(
                f"{path} is no ledger: its line {number} is no event",
                hint="Name the file that the generator wrote.",
            ) from cause
    return Ledger(writes, torn)


def _parse(line: str) -> Any:
    """Return the event of a line; None if the line is torn."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _note(writes: dict[str, Write], event: dict[str, str]) -> None:
    match event["event"]:
        case "begun":
            kind: Any = event["kind"]
            if kind not in KINDS:
                raise ValueError(kind)
            writes[event["id"]] = Write(kind, event["id"], _moment(event), sha256=event["sha256"])
        case "acknowledged":
            writes[event["id"]] = replace(writes[event["id"]], acknowledged=_moment(event))
        case other if other != "opened":
            raise ValueError(other)


def _moment(event: dict[str, str]) -> datetime:
    return datetime.fromisoformat(event["at"])
