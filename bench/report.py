"""What the rounds found, as tables and as JSON: medians, and ratios taken round by round."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.course import Round
from bench.side import Done

OURS, THEIRS = "drtool", "pgbackrest"
MIB = 1024 * 1024
GB = 1e9

Figure = Callable[[Done], float]
ROWS: dict[str, tuple[str, Figure]] = {  # what is timed, in which step
    "first backup": ("first", lambda done: done.spent.seconds),
    "second, nothing changed": ("unchanged", lambda done: done.spent.seconds),
    "second, 1 % clustered": ("clustered", lambda done: done.spent.seconds),
    "second, 1 % scattered": ("scattered", lambda done: done.spent.seconds),
    "restore, data written": ("restore", lambda done: done.phases["data"]),
    "restore, recovered": ("restore", lambda done: done.phases["data"] + done.phases["recovery"]),
}
_HEADER = (
    *(
        "",
        "DRTOOL",
        "PGBACKREST",
        "RATIO",
        "CPU-S/GB",
        "",
        "SERVER'S",
        "",
        "MEMORY, MIB",
        "",
        "STORED, MB",
        "",
    ),
)


@dataclass(frozen=True, slots=True)
class Aim:
    """One promise: what was found, what it is held against, whether it holds."""

    what: str
    found: str
    limit: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run of the bench found. help_s: the times of `drtool --help`."""

    rounds: Sequence[Round]
    help_s: Sequence[float]
    disk_s_per_gb: float

    def lines(self) -> list[str]:
        """Return the tables, for people."""
        return [
            f"{self._size / GB:.2f} GB of BASE_BACKUP; page cache warm; {os.cpu_count()} CPUs",
            f"medians of {len(self.rounds)} rounds; pairs: drtool, pgBackRest; a ratio above 1: drtool is faster",
            "memory: the process itself + all below it; stored: backups + WAL",
            "",
            *table([_HEADER, *(self._row(name) for name in ROWS)]),
            "",
            f"proofs of drtool's restore, not in the ratio: {self._median('restore', OURS, _proofs):.2f} s",
            f"BASE_BACKUP read and discarded: {self._discard_s:.2f} s",
            f"one GB written and synced: {self.disk_s_per_gb:.2f} s",
            f"stored by drtool when nothing changed: {self._median('unchanged', OURS, _stored) / 1e6:.1f} MB",
            *(self._changed(step) for step in ("clustered", "scattered")),
            "",
            *table([("AIM", "FOUND", "LIMIT", ""), *map(aim_row, self.aims())]),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return all figures, for programs. Times in seconds, sizes in bytes."""
        return {
            "schema": "drtool/bench/v1",
            "size": self._size,
            "cache": "warm",
            "cpus": os.cpu_count(),
            "help_seconds": list(self.help_s),
            "disk_seconds_per_gb": self.disk_s_per_gb,
            "ratios": {name: self._ratios(name) for name in ROWS},
            "aims": [asdict(aim) for aim in self.aims()],
            "rounds": [asdict(each) for each in self.rounds],
        }

    def aims(self) -> list[Aim]:
        """Return what was promised, and whether it holds."""
        first = median(self._ratios("first backup"))
        unchanged = self._median("unchanged", OURS, lambda done: done.spent.seconds) / self._discard_s
        memory = max(done[OURS].spent.own_peak for each in self.rounds for done in each.done.values())
        data = (
            self._size
            / GB
            * self.disk_s_per_gb
            / self._median("restore", OURS, ROWS["restore, data written"][1])
        )
        help_ms = median(self.help_s) * 1000
        return [
            Aim("first backup, against pgBackRest", f"{first:.2f} x", "1 x", first >= 1),
            Aim("nothing changed, against BASE_BACKUP", f"{unchanged:.2f} x", "1.5 x", unchanged <= 1.5),
            *map(self._new_bytes, ("clustered", "scattered")),
            Aim("restore, data step against the disk", f"{data:.2f} x", "0.7 x", data >= 0.7),
            Aim("memory of drtool, any step", f"{memory / MIB:.0f} MiB", "300 MiB", memory <= 300 * MIB),
            Aim("drtool --help", f"{help_ms:.0f} ms", "150 ms", help_ms <= 150),
        ]

    @property
    def _size(self) -> int:
        return int(median(int(each.discard.output) for each in self.rounds))

    @property
    def _discard_s(self) -> float:
        return median(each.discard.seconds for each in self.rounds)

    def _median(self, step: str, side: str, figure: Figure) -> float:
        return median(figure(each.done[step][side]) for each in self.rounds)

    def _ratios(self, name: str) -> list[float]:
        step, figure = ROWS[name]
        return [figure(each.done[step][THEIRS]) / figure(each.done[step][OURS]) for each in self.rounds]

    def _row(self, name: str) -> tuple[str, ...]:
        step, figure = ROWS[name]
        ratios = self._ratios(name)

        def pair(form: Callable[[Done], str]) -> tuple[str, str]:
            """Return what form says of the round in the middle, for both sides."""
            ours, theirs = (self._middle(step, side, figure) for side in (OURS, THEIRS))
            return form(ours), form(theirs)

        return (
            name,
            *(f"{self._median(step, side, figure):.2f}" for side in (OURS, THEIRS)),
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            *pair(lambda done: f"{done.spent.cpu / self._size * GB:.2f}"),
            *pair(lambda done: f"{done.server_cpu / self._size * GB:.2f}"),
            *pair(lambda done: f"{done.spent.own_peak / MIB:.0f}+{done.spent.children_peak / MIB:.0f}"),
            *pair(lambda done: f"{done.stored / 1e6:.1f}+{done.wal_stored / 1e6:.1f}"),
        )

    def _middle(self, step: str, side: str, figure: Figure) -> Done:
        done = sorted((each.done[step][side] for each in self.rounds), key=figure)
        return done[len(done) // 2]

    def _changed(self, step: str) -> str:
        pages, changed = self.rounds[-1].changed[step]
        return (
            f"{step}: {pages} pages updated, {changed.chunks} chunks of 128 KiB differ: {changed.plain / 1e6:.1f} MB,"
            f" {changed.compressed / 1e6:.1f} MB compressed"
        )

    def _new_bytes(self, step: str) -> Aim:
        share = median(
            each.done[step][OURS].stored / each.changed[step][1].compressed for each in self.rounds
        )
        return Aim(f"new bytes, {step}, against changed chunks", f"{share:.2f} x", "1.1 x", share <= 1.1)


def _proofs(done: Done) -> float:
    return done.phases["proofs"]


def _stored(done: Done) -> float:
    return done.stored


def aim_row(aim: Aim) -> tuple[str, ...]:
    return aim.what, aim.found, aim.limit, "ok" if aim.holds else "MISSED"


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
