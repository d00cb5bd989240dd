"""Gaps in the WAL that stand: recorded by who received it, and no base backup has been taken behind them."""

from drtool.operations.coverage import lineage_label
from drtool.operations.points import Inventory, points_of
from drtool.policy.moments import to_second
from drtool.repository.records import Record
from drtool.repository.runs import run_kind
from drtool.sources.postgres.coverage import Base
from drtool.sources.postgres.wal import parse_lsn


def standing_gap(inventory: Inventory, runs: list[Record]) -> str | None:
    """Return the newest gap in the WAL of a volume that no listed base backup lies behind; None where there is none.

    What lies behind what is told by LSNs: the store's clock has whole seconds, and a base may end in that of the gap.
    """
    gaps = [run for run in runs if _is_gap(run) and run.value.get("volume") == inventory.volume]
    if not gaps:
        return None
    listed = {point.name for point in points_of(inventory) if point.state == "listed"}
    if any(_is_behind(base, gaps[-1], inventory) for base in inventory.bases if base.id in listed):
        return None
    return (
        f"the WAL of {inventory.volume} has a gap since {to_second(gaps[-1].received)}: "
        f"run `drtool backup {inventory.volume}`"
    )


def _is_gap(run: Record) -> bool:
    return run_kind(run) == "wal" and run.value.get("outcome") == "gap"


def _is_behind(base: Base, gap: Record, inventory: Inventory) -> bool:
    if lineage_label(inventory.volume, base.lineage).label != gap.value.get("lineage"):
        return (
            inventory.snapshots[base.id].received > gap.received
        )  # another system took the place of that one
    return base.start_lsn >= parse_lsn(str(gap.value["to"]))
