"""How fast volumes came back before, from what restores and drills recorded: what a plan's time is predicted with."""

from datetime import datetime
from typing import Final

from drtool.repository.records import Records
from drtool.repository.runs import RunKind, read_runs_of

_MEASURED: Final[tuple[RunKind, ...]] = ("restore", "drill")


def pace_of(records: Records, since: datetime) -> dict[str, float]:
    """Return the bytes a second of each volume's newest restore that ended well, all of its phases and proofs counted.

    Only an operator's word counts; a restore of nothing, or in no time, tells nothing.
    """
    found: dict[str, float] = {}
    for run in read_runs_of(records, _MEASURED, since):
        if run.role == "operator" and run.value.get("outcome") == "done":
            pace = _pace(run.value.get("size"), run.value.get("seconds"))
            if pace is not None:
                found.setdefault(str(run.value.get("volume")), pace)
    return found


def _pace(size: object, seconds: object) -> float | None:
    if isinstance(size, int) and isinstance(seconds, int | float) and size > 0 and seconds > 0:
        return size / seconds
    return None
