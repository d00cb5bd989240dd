"""What somebody who holds no signing key puts into the store under names of WAL."""

from drtool.repository.wal import Lineage
from tests.repository.stage import Stage, named, put

LINEAGE = Lineage("files", "7000000000000000000", 18, 1)


def squat(stage: Stage, kind: str, timeline: int, what: str, value: bytes | None = None) -> str:
    """Put garbage whose hash fits its name as a segment, a history file or a tail; return the name."""
    value = f"garbage as {timeline} {what}".encode() if value is None else value
    return put(stage.store, named(f"{kind}/files/{LINEAGE.label}/{timeline:08X}/{what}-", value), value)
