"""What should have come and has not, told before the RPO is broken: a volume's run, the WAL of a PostgreSQL."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from drtool.policy.cadence import cadence, tail_interval
from drtool.policy.durations import brief_duration
from drtool.policy.moments import to_second
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, Volume

_SILENT_AFTER = (
    3  # tails that did not come: one may be on its way, and one wait for a receiver's next attempt
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the store shows of a volume: when its next run is due, how long the last took, when WAL was received."""

    next_run: datetime
    spent: timedelta
    wal: datetime | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """Something that has not come. red: a second run was missed too, or more than the RPO has passed."""

    text: str
    red: bool


def lateness(policy: Policy, volume: Volume, seen: Seen, now: datetime) -> Iterator[Late]:
    """Yield what has not come of volume by now."""
    plan = cadence(policy, volume)
    patience = plan.jitter + max(plan.duration, 2 * seen.spent)
    if now > seen.next_run + patience:
        yield Late(
            f"the run of {volume.name} that was due at {to_second(seen.next_run)} has not come: "
            f"look at what starts `drtool backup {volume.name} --due`",
            red=now > seen.next_run + plan.schedule.longest_gap() + volume.max_run,
        )
    if isinstance(volume, PostgresVolume) and seen.wal is not None:
        every = tail_interval(policy, volume)
        silent = now - seen.wal
        if silent > _SILENT_AFTER * every:
            yield Late(
                f"no WAL of {volume.name} has come for {brief_duration(silent)}, but should every "
                f"{brief_duration(every)}: look at what receives it",
                red=silent > plan.rpo,
            )
