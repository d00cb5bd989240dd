"""What the rounds over files found, as tables and as JSON: medians, and ratios taken round by round."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.files_course import CHANGED_FILES, FilesRound
from bench.report import GB, MIB, OURS, Aim, aim_row, table
from bench.side import Done

ROWS = {
    "first backup": "first",
    "nothing changed": "unchanged",
    f"{CHANGED_FILES} files changed": "changed",
    "restore, data written": "restore",
}
AIM = 3.0  # times as fast as restic
_TRAILER = 44  # bytes that drtool counts behind those of each file
_HEADER = ("", "SIDE", "SECONDS", "RATIO", "CPU-S/GB", "CPU RATIO", "MEMORY, MIB", "STORED, MB", "READ, MB")


@dataclass(frozen=True, slots=True)
class FilesReport:
    """Everything that the files course found. size: bytes of the tree."""

    rounds: Sequence[FilesRound]
    count: int
    size: int

    def lines(self) -> list[str]:
        """Return the tables, for people."""
        return [
            f"{self.count} files, {self.size / GB:.2f} GB; page cache warm; {os.cpu_count()} CPUs",
            f"medians of {len(self.rounds)} rounds; a ratio above 1: drtool is faster",
            "",
            *table([_HEADER, *(row for name in ROWS for row in self._rows(name))]),
            "",
            *table([("AIM", "FOUND", "LIMIT", ""), *map(aim_row, self.aims())]),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return all figures, for programs. Times in seconds, sizes in bytes."""
        return {
            "files": self.count,
            "size": self.size,
            "cache": "warm",
            "cpus": os.cpu_count(),
            "ratios": {
                name: {side: self._ratios(step, side, _seconds) for side in self._others}
                for name, step in ROWS.items()
            },
            "aims": [asdict(aim) for aim in self.aims()],
            "rounds": [asdict(each) for each in self.rounds],
        }

    def aims(self) -> list[Aim]:
        """Return what was promised, and whether it holds."""
        return [*self._against_restic(), *self._only_changed(), self._memory()]

    def _against_restic(self) -> Iterator[Aim]:
        for name in list(ROWS)[:3]:
            for side in self._others:
                ratio = median(self._ratios(ROWS[name], side, _seconds))
                yield Aim(f"{name}, against {side}", f"{ratio:.2f} x", f"{AIM:.0f} x", ratio >= AIM)

    def _only_changed(self) -> Iterator[Aim]:
        """What the second run reads is what was changed; what it uploads is that, entries and lists beside."""
        last = self.rounds[-1]
        done, unchanged = last.done["changed"][OURS], last.done["unchanged"][OURS]
        limit = last.changed.size + _TRAILER * last.changed.files
        yield Aim(
            "bytes read of changed files", f"{done.read}", f"{limit}", last.changed.size <= done.read <= limit
        )
        more = done.stored - unchanged.stored
        yield Aim(
            "uploaded, more than when nothing changed", f"{more / 1e6:.1f} MB", "no more", more <= 1.1 * limit
        )

    def _memory(self) -> Aim:
        peak = max(done[OURS].spent.own_peak for each in self.rounds for done in each.done.values())
        return Aim("memory of drtool, any step", f"{peak / MIB:.0f} MiB", "300 MiB", peak <= 300 * MIB)

    @property
    def _others(self) -> list[str]:
        return [name for name in self.rounds[0].done["first"] if name != OURS]

    def _rows(self, name: str) -> Iterator[tuple[str, ...]]:
        step = ROWS[name]
        for side in (OURS, *sorted(self._others)):
            done = [each.done[step][side] for each in self.rounds]
            middle = sorted(done, key=_seconds)[len(done) // 2]
            ratios, cpu = self._ratios(step, side, _seconds), self._ratios(step, side, _cpu)
            yield (
                name if side == OURS else "",
                side,
                f"{median(map(_seconds, done)):.2f}",
                f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if side != OURS else "",
                f"{median(map(_cpu, done)) / self.size * GB:.2f}",
                f"{median(cpu):.2f}" if side != OURS else "",
                f"{middle.spent.own_peak / MIB:.0f}",
                f"{middle.stored / 1e6:.1f}",
                f"{middle.read / 1e6:.1f}" if side == OURS else "",
            )

    def _ratios(self, step: str, side: str, figure: Any) -> list[float]:
        return [figure(each.done[step][side]) / figure(each.done[step][OURS]) for each in self.rounds]


def _seconds(done: Done) -> float:
    return done.phases.get("data", done.spent.seconds)


def _cpu(done: Done) -> float:
    return done.spent.cpu
