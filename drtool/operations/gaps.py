"""Gaps in the WAL that stand: no base backup has been taken behind them."""

from collections.abc import Collection

from drtool.operations.coverage import lineage_label
from drtool.operations.points import Inventory
from drtool.policy.moments import to_second
from drtool.repository.records import Record, arrival
from drtool.repository.runs import run_kind
from drtool.sources.postgres.coverage import Base, find_reach
from drtool.sources.postgres.wal import parse_lsn


def standing_gap(inventory: Inventory, listed: Collection[str], runs: Collection[Record]) -> str | None:
    """Return the gap in the WAL of a volume behind its newest listed base backup; None where there is none.

    The WAL shows it, once something behind it is stored; until then only the record of who found it does. runs are by
    time, and may leave out what is older than the newest backup.
    """
    bases = [base for base in inventory.bases if base.id in listed]
    gap = _newest_recorded(inventory, bases, runs)
    shown = _shown(inventory, bases)
    if gap is None and not shown:
        return None
    told = f": {'; '.join(shown)}" if gap is None else f" since {to_second(gap.received)}"
    return f"the WAL of {inventory.volume} has a gap{told}: run `drtool backup {inventory.volume}`"


def _shown(inventory: Inventory, bases: Collection[Base]) -> tuple[str, ...]:
    """Return what is missing behind the newest of bases."""
    if not bases:
        return ()
    newest = max(bases, key=lambda base: arrival(inventory.snapshots[base.id]))
    return find_reach(newest, inventory.held[newest.lineage].wal).faults()


def _newest_recorded(
    inventory: Inventory, bases: Collection[Base], runs: Collection[Record]
) -> Record | None:
    """Return the newest gap that a writer recorded, unless one of bases lies behind it."""
    gaps = [run for run in runs if _is_gap(run) and run.value.get("volume") == inventory.volume]
    if not gaps or any(_is_behind(base, gaps[-1], inventory) for base in bases):
        return None
    return gaps[-1]


def _is_gap(run: Record) -> bool:
    return run_kind(run) == "wal" and run.role == "writer" and run.value.get("outcome") == "gap"


def _is_behind(base: Base, gap: Record, inventory: Inventory) -> bool:
    """Tell whether a base backup lies behind a gap: by LSNs, for it may have begun before somebody found the gap."""
    if lineage_label(inventory.volume, base.lineage).label == gap.value.get("lineage"):
        try:
            return base.start_lsn >= parse_lsn(str(gap.value["to"]))
        except (KeyError, ValueError):
            return False
    # Another system took the place of that one.
    return arrival(inventory.snapshots[base.id]) > arrival(gap)
