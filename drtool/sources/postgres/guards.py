"""When a slot may be made and received from: what speaks against it, what is used up just now, and what mends that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drtool.errors import Refused, TemporaryFailure
from drtool.sources.postgres.connection import APPLICATION_NAME
from drtool.sources.postgres.standby_names import could_match

UNLIMITED = -1
MORE = 5  # than there are, where a limit is to be raised
_NAMED = 10  # slots that a message names; the rest is counted

CANNOT_REPLICATE_HINT = (
    "Set wal_level = replica, and max_wal_senders and max_replication_slots to 10, and restart the server."
)
UNLIMITED_HINT = (
    "Run `ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'` (half of the room for WAL) and "
    "`SELECT pg_reload_conf()`, or say on_backlog: protect-rpo."
)
SYNCHRONOUS_HINT = (
    f"Name the synchronous standbys one by one, without * and without {APPLICATION_NAME}, "
    "and reload the server."
)

OnBacklog = Literal["protect-app", "protect-rpo"]


@dataclass(frozen=True, slots=True)
class TakenSlot:
    """A slot of the server, whosever it is: who is connected to it, and how much WAL it keeps, in bytes.

    database is that of a logical slot. kept is None where it keeps none: it was lost, or never used.
    """

    name: str
    kind: str
    database: str | None
    pid: int | None
    application: str | None
    user: str | None
    kept: int | None

    def __str__(self) -> str:
        kind = f"{self.kind} on {self.database}" if self.database else self.kind
        by = f" by {self.application or 'pid'} {self.pid}" if self.pid else ""
        user = f" as {self.user}" if self.user else ""
        use = f"active{by}{user}" if self.pid else "not active"
        keeps = "keeps no WAL" if self.kept is None else f"keeps {self.kept >> 20} MiB of WAL"
        return f"{self.name} ({kind}, {use}, {keeps})"


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The settings and counts that decide whether a slot may be made. keep_size_mb is -1 where unlimited."""

    keep_size_mb: int
    synchronous_standby_names: str
    wal_level: str
    max_slots: int
    slots: int
    max_walsenders: int
    walsenders: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """What is used up on the server just now: by a setting that, raised to value, leaves room again."""

    message: str
    hint: str
    setting: str
    value: int


def check_guards(
    limits: ServerLimits, on_backlog: OnBacklog, taken: Sequence[TakenSlot], *, is_new: bool
) -> None:
    """Raise Refused with every reason why a slot and its receiver could harm the server, or cannot work there."""
    refused = objections(limits, on_backlog)
    if refused:
        raise Refused(
            "; ".join(message for message, _ in refused), hint=" ".join(hint for _, hint in refused)
        )
    busy = shortages(limits, taken, is_new=is_new)
    if busy:
        raise TemporaryFailure(
            "; ".join(each.message for each in busy), hint=" ".join(each.hint for each in busy)
        )


def objections(limits: ServerLimits, on_backlog: OnBacklog) -> list[tuple[str, str]]:
    """Return what speaks against a slot on such a server, and what mends it; empty if nothing does."""
    found = []
    if limits.wal_level == "minimal" or not limits.max_walsenders or not limits.max_slots:
        message = (
            f"the server cannot replicate: wal_level {limits.wal_level}, "
            f"max_wal_senders {limits.max_walsenders}, max_replication_slots {limits.max_slots}"
        )
        found.append((message, CANNOT_REPLICATE_HINT))
    if limits.keep_size_mb == UNLIMITED and on_backlog != "protect-rpo":
        message = "max_slot_wal_keep_size is unlimited, so a slot could fill the server's disk"
        found.append((message, UNLIMITED_HINT))
    if could_match(limits.synchronous_standby_names, APPLICATION_NAME):
        message = (
            f"synchronous_standby_names ({limits.synchronous_standby_names}) takes in the receiver, "
            "so that commits would wait for the object store"
        )
        found.append((message, SYNCHRONOUS_HINT))
    return found


def shortages(limits: ServerLimits, taken: Sequence[TakenSlot], *, is_new: bool) -> list[Shortage]:
    """Return what is used up on the server just now. taken: those that nobody uses first."""
    found = []
    if is_new and limits.slots >= limits.max_slots:
        named = ", ".join(map(str, taken[:_NAMED]))
        rest = f", and {len(taken) - _NAMED} more" if len(taken) > _NAMED else ""
        message = f"all {limits.max_slots} replication slots are in use: {named}{rest}"
        unused = next((each.name for each in taken if each.pid is None), None)
        found.append(_shortage(message, "max_replication_slots", limits.max_slots, _drop(unused)))
    if limits.walsenders >= limits.max_walsenders:
        message = f"all {limits.max_walsenders} walsenders are in use"
        found.append(_shortage(message, "max_wal_senders", limits.max_walsenders, ""))
    return found


def _drop(unused: str | None) -> str:
    if unused is None:
        return ""
    return f"Run `SELECT pg_drop_replication_slot('{unused}')` if nobody needs that one any more. "


def _shortage(message: str, setting: str, limit: int, first: str) -> Shortage:
    raised = f"`ALTER SYSTEM SET {setting} = {limit + MORE}`"
    hint = f"{first}{'Or run' if first else 'Run'} {raised}, and restart the server."
    return Shortage(f"{message} ({setting})", hint, setting, limit + MORE)
