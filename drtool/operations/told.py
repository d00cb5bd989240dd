"""What the records of a volume's runs tell of its WAL: its gaps, and which base backups had all of theirs."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import cached_property

from drtool.operations.coverage import lineage_label
from drtool.operations.marks import Witness, all_witnesses
from drtool.operations.session import Session
from drtool.repository.records import Record
from drtool.repository.runs import RunKind, read_runs_of
from drtool.sources.postgres.coverage import Base, Gap, Lineage
from drtool.sources.postgres.wal import format_lsn

_BEFORE = timedelta(days=1)  # a gap is recorded before the base backup begins that is taken for it


class Told:
    """The records since a volume's first snapshot began, read once, when they are asked for: each costs a GET.

    Only a writer's count: nobody else has seen WAL come, or not come.
    """

    def __init__(self, session: Session, volume: str, since: datetime) -> None:
        self._session = session
        self._volume = volume
        self._since = since - _BEFORE
        self._witnesses: dict[Lineage, list[Witness]] = {}

    def is_recorded(self, base: Base, gap: Gap) -> bool:
        """Tell whether a receiver said, when it came about, that the WAL of base is missing up to the end of gap."""
        return (lineage_label(self._volume, base.lineage).label, format_lsn(gap.end)) in self._gaps

    def was_whole(self, base: Base) -> bool:
        """Tell whether anybody saw all WAL of base durable: its own backup, which then ended well, or a mark.

        Then WAL that is not there was lost; else nobody ever called the base a point.
        """
        if base.id in self._done:
            return True
        if base.lineage not in self._witnesses:
            known = all_witnesses(self._session, base.lineage, self._volume, self._since)
            self._witnesses[base.lineage] = known
        return any(
            (each.epoch, each.timeline) == (base.lineage.epoch, base.timeline) and each.lsn >= base.end_lsn
            for each in self._witnesses[base.lineage]
        )

    @cached_property
    def _gaps(self) -> frozenset[tuple[str, str]]:
        """The gaps that receivers recorded: the lineage, and up to which LSN WAL is missing."""
        runs = (run.value for run in self._runs("wal") if run.value.get("outcome") == "gap")
        return frozenset((str(run.get("lineage")), str(run.get("to"))) for run in runs)

    @cached_property
    def _done(self) -> frozenset[str]:
        """The points whose backup ended well."""
        runs = (run.value for run in self._runs("backup") if run.value.get("outcome") == "done")
        return frozenset(str(run.get("point")) for run in runs)

    def _runs(self, kind: RunKind) -> Iterator[Record]:
        with closing(read_runs_of(self._session.repository.records, (kind,), self._since)) as runs:
            yield from (
                run for run in runs if run.role == "writer" and run.value.get("volume") == self._volume
            )
